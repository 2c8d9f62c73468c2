/** How a condition key is compared, and whether a request may give it several values. */
export interface ContextKeyDescription {
  type: 'string' | 'numeric' | 'date' | 'bool' | 'ip' | 'arn';
  multivalued?: true;
  meaning: string;
}

/**
 * The condition keys a request to the registry can carry. A name that ends in `/` goes on with the key of a tag. Keys are
 * compared without regard to case, tag keys within them included ("Global condition context keys", IAM User Guide).
 */
export const CONTEXT_KEYS = {
  'aws:PrincipalArn': { type: 'arn', meaning: 'user or root; for a session, the role and not the session' },
  'aws:PrincipalAccount': { type: 'string', meaning: 'account of the caller' },
  'aws:PrincipalType': { type: 'string', meaning: 'Account, User, AssumedRole or Anonymous' },
  'aws:PrincipalTag/': { type: 'string', meaning: 'tag of the user or role, or of the session' },
  'aws:PrincipalIsAWSService': { type: 'bool', meaning: 'false: no service of AWS calls here' },
  'aws:userid': { type: 'string', meaning: 'unique id of the user; role id and session name of a session' },
  'aws:username': { type: 'string', meaning: 'name of the user; absent for sessions and the root' },
  'aws:TokenIssueTime': { type: 'date', meaning: 'when temporary credentials were issued; else absent' },
  'aws:FederatedProvider': { type: 'string', meaning: 'provider of the web identity that began the session' },
  'aws:SourceIdentity': { type: 'string', meaning: 'source identity of the session' },
  'aws:MultiFactorAuthPresent': { type: 'bool', meaning: 'false with temporary credentials; else absent' },
  'aws:SourceIp': { type: 'ip', meaning: 'address of the client, as trusted proxies give it' },
  'aws:SecureTransport': { type: 'bool', meaning: 'whether the client came over TLS' },
  'aws:UserAgent': { type: 'string', meaning: 'what the client calls itself; proves nothing' },
  'aws:Referer': { type: 'string', meaning: 'header Referer; proves nothing' },
  'aws:CurrentTime': { type: 'date', meaning: 'time of the request, ISO 8601' },
  'aws:EpochTime': { type: 'date', meaning: 'time of the request, seconds since 1970' },
  'aws:RequestedRegion': { type: 'string', meaning: 'Region of the registry addressed' },
  'aws:ResourceAccount': { type: 'string', meaning: 'account that owns the resource' },
  'aws:ResourceTag/': { type: 'string', meaning: 'tag of the repository' },
  'ecr:ResourceTag/': { type: 'string', meaning: 'tag of the repository' },
  'aws:RequestTag/': { type: 'string', meaning: 'tag in the request' },
  'aws:TagKeys': { type: 'string', multivalued: true, meaning: 'keys of the tags in the request' },
  'ecr:AccountSetting': { type: 'string', meaning: 'name of the account setting put or read' },
  'sts:ExternalId': { type: 'string', meaning: 'ExternalId of AssumeRole' },
  'sts:RoleSessionName': { type: 'string', meaning: 'RoleSessionName of AssumeRole' },
  'sts:TransitiveTagKeys': {
    type: 'string',
    multivalued: true,
    meaning: 'transitive tag keys of AssumeRole',
  },
} as const satisfies Record<string, ContextKeyDescription>;

export type ContextValues = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What is known of one request, by condition key. */
export class RequestContext {
  private readonly values = new Map<string, readonly string[]>();

  /** @param values `undefined` and the empty list leave the key out: IAM takes an empty set for no key. */
  constructor(values: ContextValues) {
    for (const key of Object.keys(values)) {
      const value = values[key];
      const list = typeof value === 'string' ? [value] : (value ?? []);
      if (list.length > 0) this.values.set(key.toLowerCase(), list);
    }
  }

  /** @param key in lower case */
  get(key: string): readonly string[] | undefined {
    return this.values.get(key);
  }

  /** @returns the value of a key that has exactly one */
  single(key: string): string | undefined {
    const values = this.values.get(key);
    return values?.length === 1 ? values[0] : undefined;
  }
}
