"""Pushes the OCI layout in the folder given to the repository given, through boto3, and reads it back; prints what it saw."""

import base64
import json
import pathlib
import sys
import urllib.request

import boto3

layout, repository = pathlib.Path(sys.argv[1]), sys.argv[2]
ecr = boto3.client("ecr")


def blob(digest):
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def push_layer(digest):
    content = blob(digest)
    upload = ecr.initiate_layer_upload(repositoryName=repository)
    first = 0
    while first < len(content):
        part = content[first : first + upload["partSize"]]
        answer = ecr.upload_layer_part(
            repositoryName=repository,
            uploadId=upload["uploadId"],
            partFirstByte=first,
            partLastByte=first + len(part) - 1,
            layerPartBlob=part,
        )
        first = answer["lastByteReceived"] + 1
    try:
        ecr.complete_layer_upload(repositoryName=repository, uploadId=upload["uploadId"], layerDigests=[digest])
    except ecr.exceptions.LayerAlreadyExistsException:
        pass


def push(descriptor, tag=None):
    text = blob(descriptor["digest"]).decode()
    manifest = json.loads(text)
    for child in manifest.get("manifests", []):
        push(child)
    for part in [manifest["config"], *manifest["layers"]] if "layers" in manifest else []:
        push_layer(part["digest"])
    more = {"imageTag": tag} if tag else {}
    ecr.put_image(
        repositoryName=repository,
        imageManifest=text,
        imageManifestMediaType=descriptor["mediaType"],
        imageDigest=descriptor["digest"],
        **more,
    )


def pull(image_id, media_type):
    """Everything below the image: digests of what came back equal."""
    answer = ecr.batch_get_image(repositoryName=repository, imageIds=[image_id], acceptedMediaTypes=[media_type])
    assert not answer["failures"], answer["failures"]
    image = answer["images"][0]
    digest = image["imageId"]["imageDigest"]
    assert image["imageManifest"].encode() == blob(digest), digest
    equal = [digest]
    manifest = json.loads(image["imageManifest"])
    for child in manifest.get("manifests", []):
        equal += pull({"imageDigest": child["digest"]}, child["mediaType"])
    for part in [manifest["config"], *manifest["layers"]] if "layers" in manifest else []:
        url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=part["digest"])["downloadUrl"]
        with urllib.request.urlopen(url) as response:
            assert response.read() == blob(part["digest"]), part["digest"]
        equal.append(part["digest"])
    return equal


top = json.loads((layout / "index.json").read_text())["manifests"][0]
ecr.create_repository(repositoryName=repository)
push(top, "v1")
equal = pull({"imageTag": "v1"}, top["mediaType"])
pages = ecr.get_paginator("describe_images").paginate(repositoryName=repository, PaginationConfig={"PageSize": 1})
described = [image["imageDigest"] for page in pages for image in page["imageDetails"]]
token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
try:
    ecr.delete_repository(repositoryName=repository)
    refused = None
except ecr.exceptions.RepositoryNotEmptyException as error:
    refused = error.response["Error"]["Code"]
print(
    json.dumps(
        {
            "equal": sorted(set(equal)),
            "described": sorted(described),
            "user": base64.b64decode(token).decode().split(":")[0],
            "refused": refused,
        }
    )
)
