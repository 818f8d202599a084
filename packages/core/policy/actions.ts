/**
 * Everything that somebody may ask to do, in the words that policies use: `<resource>:<verb>`. `group` is who may do it by the
 * shipped policies (docs/security.md has the table that a person reads); `on` is what it is done to.
 *
 *   read        members of the project, viewers among them
 *   work        developers
 *   administer  administrators of the organisation
 *   install     super administrators, who run the installation
 *   own         every signed-in person, about their own account
 *   agent       agents, through the runner that carries them
 */
export const ACTIONS = {
  'account:secure': { group: 'own', on: 'account', summary: 'change how an account that is not your own is protected' },
  'account:use': { group: 'own', on: 'account', summary: 'use an account that is not your own' },

  'organization:read': { group: 'read', on: 'organization', summary: 'see an organisation and its members' },
  'organization:update': { group: 'administer', on: 'organization', summary: 'rename an organisation' },
  'organization:members': { group: 'administer', on: 'organization', summary: 'invite, remove and give roles to members' },
  'organization:leave': { group: 'read', on: 'organization', summary: 'leave an organisation' },
  'organization:create': { group: 'own', on: 'installation', summary: 'create an organisation' },

  'project:read': { group: 'read', on: 'project', summary: 'see a project' },
  'project:create': { group: 'administer', on: 'organization', summary: 'create a project' },
  'project:update': { group: 'administer', on: 'project', summary: 'change name and settings of a project' },
  'project:members': { group: 'administer', on: 'project', summary: 'say who belongs to a project' },

  'repository:read': { group: 'read', on: 'repository', summary: 'see a repository and fetch from it' },
  'repository:create': { group: 'administer', on: 'project', summary: 'create or import a repository' },
  'repository:import-path': { group: 'install', on: 'installation', summary: 'import from a folder of the server\'s own machine' },
  'repository:push': { group: 'work', on: 'repository', summary: 'push the result to where a repository came from' },

  'spec:read': { group: 'own', on: 'account', summary: 'have a spec read and checked, without starting anything' },

  'session:read': { group: 'read', on: 'session', summary: 'see a design session' },
  'session:start': { group: 'work', on: 'project', summary: 'start a design session' },
  'session:edit': { group: 'work', on: 'session', summary: 'answer, edit, retry or cancel a design session' },

  'ticket:read': { group: 'read', on: 'ticket', summary: 'see a ticket with its attempts, log and transcript' },
  'ticket:create': { group: 'work', on: 'project', summary: 'create a ticket' },
  'ticket:update': { group: 'work', on: 'ticket', summary: 'change priority, title or description of a ticket' },
  'ticket:retry': { group: 'work', on: 'ticket', summary: 'send a ticket back to work' },
  'ticket:hold': { group: 'work', on: 'ticket', summary: 'hold a ticket' },
  'ticket:cancel': { group: 'work', on: 'ticket', summary: 'cancel a ticket' },
  'question:read': { group: 'read', on: 'question', summary: 'see the question of an agent' },
  'ticket:answer': { group: 'work', on: 'question', summary: 'answer the question of an agent' },

  'approval:read': { group: 'read', on: 'approval', summary: 'see what was or is to be approved' },
  'approval:decide': { group: 'work', on: 'approval', summary: 'approve, reject or send back what waits for a person' },

  'change:read': { group: 'read', on: 'change', summary: 'see a change, its diff, checks and evidence' },
  'change:review': { group: 'work', on: 'change', summary: 'comment on a change and review it' },
  'change:merge': { group: 'agent', on: 'change', summary: 'put a change into the merge queue' },
  'queue:pause': { group: 'work', on: 'repository', summary: 'stop a merge queue and let it go on' },

  'view:save': { group: 'own', on: 'account', summary: 'save views of boards for yourself' },
  'view:share': { group: 'work', on: 'project', summary: 'share views of boards with a project' },

  'agent:read': { group: 'read', on: 'installation', summary: 'see agent definitions' },
  'agent:edit': { group: 'install', on: 'installation', summary: 'register and change agent definitions' },

  'vm:read': { group: 'read', on: 'vm', summary: 'see a microVM and what it uses' },
  'vm:operate': { group: 'work', on: 'vm', summary: 'pause, resume, fork or end a microVM, and read its logs' },
  'vm:exec': { group: 'administer', on: 'vm', summary: 'run a command or a shell in a microVM' },

  'runner:read': { group: 'read', on: 'installation', summary: 'see the hosts that run microVMs' },
  'runner:register': { group: 'install', on: 'installation', summary: 'register or take away a host' },
  'runner:drain': { group: 'install', on: 'installation', summary: 'give a host no new work, and give it some again' },

  'secret:read': { group: 'administer', on: 'secret', summary: 'see names and bindings of secrets, never their values' },
  'secret:edit': { group: 'administer', on: 'secret', summary: 'set and remove secrets' },
  'secret:keys': { group: 'install', on: 'installation', summary: 'rotate the keys that secrets are kept under' },
  'secret:use': { group: 'agent', on: 'secret', summary: 'have a secret added to requests, on the host' },
  'egress:connect': { group: 'agent', on: 'host', summary: 'reach a host that the project allows' },

  'policy:read': { group: 'administer', on: 'organization', summary: 'see policies, dry runs and decisions' },
  'policy:edit': { group: 'administer', on: 'organization', summary: 'change policies' },
  'audit:read': { group: 'administer', on: 'organization', summary: 'see and export who did what' },

  'usage:read': { group: 'read', on: 'project', summary: 'see usage, spend and budgets' },
  'budget:edit': { group: 'administer', on: 'project', summary: 'change ceilings of spend' },
  'model:call': { group: 'administer', on: 'project', summary: 'call the model through the gateway' },

  'user:read': { group: 'install', on: 'installation', summary: 'see all users' },
  'user:edit': { group: 'install', on: 'installation', summary: 'change or lock users' },
  'system:read': { group: 'own', on: 'installation', summary: 'see what is installed and which model serves' },
  'system:metrics': { group: 'install', on: 'installation', summary: 'read metrics and configuration' },
  'live:connect': { group: 'own', on: 'account', summary: 'open a live connection; each room is asked for by itself' },
} as const satisfies Record<string, { group: string; on: string; summary: string }>

export type Action = keyof typeof ACTIONS
export type ActionGroup = (typeof ACTIONS)[Action]['group']
/** What actions are done to. `vm` … are those of a project; `host` is a host name as seen from a project. */
export type ResourceKind = (typeof ACTIONS)[Action]['on']

export const ACTION_NAMES = Object.keys(ACTIONS) as [Action, ...Action[]]
export const ACTION_GROUPS = ['read', 'work', 'administer', 'install', 'own', 'agent'] as const satisfies readonly ActionGroup[]

/** The organisation that exists from the first start on; what belongs to none of its own belongs to it. */
export const DEFAULT_ORGANIZATION_ID = 'ORG-00000000'

/** Roles in an organisation and in a project, the weakest first: each has what those before it have. Beside them a user may be `super_admin` of the whole installation. */
export const ROLES = ['viewer', 'developer', 'admin'] as const
export type Role = (typeof ROLES)[number]
/** Roles that a member of a single project may have there. */
export const PROJECT_ROLES = ['viewer', 'developer'] as const satisfies readonly Role[]
export type ProjectRole = (typeof PROJECT_ROLES)[number]

/**
 * Whether an API key with these scopes may ask for an action at all. A scope is the name of an action, `<resource>:*`, a
 * group, or `*`. What its user may not do, a key may not do either, and it never reaches what protects the account itself.
 */
export function scopeCovers(scopes: readonly string[], action: Action): boolean {
  const [resource] = action.split(':')
  const { group } = ACTIONS[action]
  return scopes.some((scope) => scope === '*' || scope === action || scope === `${resource}:*` || scope === group)
}

/** Every scope that a key may be given. */
export const SCOPES: readonly string[] = [
  '*', ...ACTION_GROUPS.filter((group) => group !== 'agent'), ...new Set(ACTION_NAMES.map((action) => `${action.split(':')[0]}:*`)), ...ACTION_NAMES,
]
