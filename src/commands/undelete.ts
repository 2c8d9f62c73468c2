import { RegistryError } from '../domain/registry-error.js';
import type { RegistryAddress } from '../domain/registry-address.js';
import type { DeletedImage, TagRestored } from '../registry/images/trash/deleted-image.js';
import { type Undeleted, UndeleteService, type Wanted } from '../registry/images/trash/undelete.service.js';
import { RepositoriesService } from '../registry/repositories/repositories.service.js';
import { type Command, CommandError, runCommand } from './command.js';
import { sizeText } from './size-text.js';

const USAGE = `Usage: npm run undelete -- --list [--repository <name>]
       npm run undelete -- --repository <name> (--digest <sha256:…> | --tag <tag> | --since <time> | --all)

Brings images back that were deleted, for as long as STOWAGE_UNDELETE_WINDOW says: with their layers, their tags
and the images an index names.

  --list                what can be brought back, last deleted first; also of repositories that are gone
  --registry <account>  12 digits; absent: STOWAGE_ACCOUNT_ID
  --region <Region>     absent: STOWAGE_REGION
  --repository <name>   where the image was, and comes back to
  --digest <digest>     the image of this digest
  --tag <tag>           the image that had this tag when it was deleted; of several, the last deleted one
  --since <time>        everything deleted at this time or later, like 2026-01-31T12:00:00Z
  --all                 everything that was deleted in the repository
  --move-tags           takes tags back from images that have them by now, where the repository lets tags be moved
  --create-repository   creates the repository, with default settings, if it is gone
  --dry-run             changes nothing; tells what would be done
  --json                one JSON document per line`;

const options = {
  list: { type: 'boolean' },
  registry: { type: 'string' },
  region: { type: 'string' },
  repository: { type: 'string' },
  digest: { type: 'string' },
  tag: { type: 'string' },
  since: { type: 'string' },
  all: { type: 'boolean' },
  'move-tags': { type: 'boolean' },
  'create-repository': { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

type UndeleteCommand = Command<typeof options>;

await runCommand('undelete', (command) => (command.values.list ? list(command) : undelete(command)), {
  usage: USAGE,
  options,
});

async function list({ get, config, print, values }: UndeleteCommand): Promise<number> {
  const images = await get(UndeleteService).list(addressed({ config, values }), values.repository);
  if (images.length === 0 && !values.json) print('No deleted image can be brought back.');
  for (const { id: _, ...image } of images) {
    const until = new Date(image.deletedAt.getTime() + config.undeleteSeconds * 1000);
    if (values.json) print(JSON.stringify({ ...image, until }));
    else
      print(
        `${image.repositoryName} ${image.digest}${tagsOf(image)} ${sizeText(image.sizeBytes)}, deleted ${image.deletedAt.toISOString()}, until ${until.toISOString()}`,
      );
  }
  return 0;
}

async function undelete({ get, config, print, values }: UndeleteCommand): Promise<number> {
  const registry = addressed({ config, values });
  const name = values.repository;
  if (name === undefined) throw new CommandError(`--repository is missing\n\n${USAGE}`, 2);
  const wanted = wantedOf(values);
  if (values['create-repository'] && !values['dry-run'])
    await createUnlessThere({ get, print }, registry, name);
  const undeleted = await get(UndeleteService)
    .undelete(registry, name, wanted, {
      moveTags: values['move-tags'] ?? false,
      dryRun: values['dry-run'] ?? false,
    })
    .catch((error: unknown) => {
      if (!(error instanceof RegistryError) || error.code !== 'RepositoryNotFound') throw error;
      throw new CommandError(`${error.message}. Create it first, or give --create-repository.`);
    });
  if (undeleted.length === 0) throw new CommandError('No such deleted image; --list shows those there are.');
  for (const one of undeleted) {
    const { id: _, ...image } = one.image;
    if (values.json) print(JSON.stringify({ ...image, restored: one.restored }));
    else print(`${one.image.digest}${tagsOf(one.image)}: ${outcomeOf(one)}`);
  }
  const back = undeleted.filter(({ restored }) => isBack(restored.outcome)).length;
  if (!values.json)
    print(`${back} of ${undeleted.length} ${values['dry-run'] ? 'would come back' : 'came back'}`);
  return back === undeleted.length ? 0 : 1;
}

function addressed({ config, values }: Pick<UndeleteCommand, 'config' | 'values'>): RegistryAddress {
  return {
    accountId: values.registry ?? config.STOWAGE_ACCOUNT_ID,
    region: values.region ?? config.STOWAGE_REGION,
  };
}

function wantedOf({ digest, tag, since, all }: UndeleteCommand['values']): Wanted {
  const given: Wanted[] = [];
  if (digest !== undefined) given.push({ digest });
  if (tag !== undefined) given.push({ tag });
  if (since !== undefined) given.push({ since: timeOf(since) });
  if (all) given.push('all');
  if (given.length !== 1)
    throw new CommandError(`Exactly one of --digest, --tag, --since and --all is needed\n\n${USAGE}`, 2);
  return given[0]!;
}

function timeOf(text: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new CommandError(`--since ${text} is no time`, 2);
  return time;
}

async function createUnlessThere(
  { get, print }: Pick<UndeleteCommand, 'get' | 'print'>,
  registry: RegistryAddress,
  name: string,
): Promise<void> {
  const repositories = get(RepositoriesService);
  if (await repositories.find(registry, name)) return;
  await repositories.create(registry, {
    name,
    tagMutability: 'MUTABLE',
    exclusionFilters: [],
    scanOnPush: false,
    tags: [],
  });
  print(`Created the repository ${name} with default settings`);
}

function isBack(outcome: Undeleted['restored']['outcome']): boolean {
  return outcome === 'restored' || outcome === 'there-already';
}

function outcomeOf({ restored }: Undeleted): string {
  switch (restored.outcome) {
    case 'restored':
    case 'there-already': {
      const notes = restored.tags.flatMap(tagNote);
      const damaged = restored.damaged.map(
        (digest) => `its layer ${digest} is damaged and must be pushed again`,
      );
      const what = restored.outcome === 'restored' ? 'brought back' : 'is there already';
      return [what, ...notes, ...damaged].join('; ');
    }
    case 'children-missing':
      return `not brought back: images it names are gone for good: ${restored.digests.join(', ')}`;
    case 'exceeded':
      return `not brought back: the limit of ${restored.limit} ${restored.what} would be exceeded`;
    case 'gone':
      return 'not brought back: it was brought back or forgotten at this moment';
    case 'repository-gone':
      return 'not brought back: the repository was deleted at this moment';
  }
}

function tagNote(restored: TagRestored): string[] {
  switch (restored.outcome) {
    case 'put':
    case 'there':
      return [];
    case 'taken':
      return [`its tag ${restored.tag} is now that of ${restored.by} (--move-tags takes it back)`];
    case 'immutable':
      return [
        `its tag ${restored.tag} is now that of ${restored.by}, and the repository lets no tag be moved`,
      ];
    case 'too-many':
      return [`its tag ${restored.tag} would be one more than an image may have`];
  }
}

function tagsOf({ tags }: Pick<DeletedImage, 'tags'>): string {
  return tags.length === 0 ? '' : ` [${tags.join(', ')}]`;
}
