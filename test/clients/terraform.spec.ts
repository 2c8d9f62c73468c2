import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { DescribeRepositoriesCommand, ListTagsForResourceCommand } from '@aws-sdk/client-ecr';
import { onPath } from '../support/programs.js';
import { awsEnvironment } from './aws-environment.js';
import { describeClient } from './client.js';

const PROVIDER = 'registry.terraform.io/hashicorp/aws';
/** Folders where providers are mirrored, the first of them by setting. */
const mirror = [
  process.env['STOWAGE_TEST_TERRAFORM_MIRROR'] ?? '',
  join(homedir(), '.terraform.d/plugins'),
  '/usr/local/share/terraform/plugins',
  '/usr/share/terraform/plugins',
  '/opt/tf-plugins',
].find((folder) => folder && existsSync(join(folder, PROVIDER)));
const program = mirror === undefined ? undefined : onPath('terraform');

describeClient(
  'terraform',
  program,
  (client) => {
    it('makes, keeps, changes and destroys a repository', async () => {
      const apply = async (mutability: string, owner: string): Promise<string> => {
        await writeFile(join(client.home, 'main.tf'), configuration(client.registry.url, mutability, owner));
        return client.run('apply', '-auto-approve', '-no-color');
      };
      await writeFile(join(client.home, 'main.tf'), configuration(client.registry.url, 'MUTABLE', 'one'));
      await client.run('init', '-no-color');
      expect(await apply('MUTABLE', 'one')).toContain('1 added');
      expect(await client.run('output', '-raw', 'url')).toBe(`${client.host}/terraform/app`);

      expect(await apply('IMMUTABLE', 'two')).toContain('1 changed');
      // What it reads back is what it wrote: exit code 0 says that there is nothing to do.
      await client.run('plan', '-detailed-exitcode', '-no-color');
      const { repositories } = await client.registry.ecr.send(new DescribeRepositoriesCommand({}));
      expect(repositories).toMatchObject([
        { repositoryName: 'terraform/app', imageTagMutability: 'IMMUTABLE' },
      ]);
      const { tags } = await client.registry.ecr.send(
        new ListTagsForResourceCommand({ resourceArn: repositories![0]!.repositoryArn }),
      );
      expect(tags).toEqual([{ Key: 'owner', Value: 'two' }]);

      expect(await client.run('destroy', '-auto-approve', '-no-color')).toContain('1 destroyed');
      const left = await client.registry.ecr.send(new DescribeRepositoriesCommand({}));
      expect(left.repositories).toEqual([]);
    }, 180_000);
  },
  {
    stores: ['filesystem'],
    want: 'terraform and a mirror of its provider',
    environment: (home, registry) => ({
      ...awsEnvironment(registry),
      TF_CLI_CONFIG_FILE: join(home, 'cli.tfrc'),
      CHECKPOINT_DISABLE: '1',
      TF_IN_AUTOMATION: '1',
    }),
    prepare: ({ home }) =>
      writeFile(
        join(home, 'cli.tfrc'),
        `provider_installation {\n  filesystem_mirror {\n    path = "${mirror}"\n  }\n}\n`,
      ),
  },
);

function configuration(url: string, mutability: string, owner: string): string {
  return `
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  endpoints {
    ecr = "${url}"
  }
}
resource "aws_ecr_repository" "app" {
  name                 = "terraform/app"
  image_tag_mutability = "${mutability}"
  force_delete         = true
  tags                 = { owner = "${owner}" }
}
output "url" {
  value = aws_ecr_repository.app.repository_url
}
`;
}
