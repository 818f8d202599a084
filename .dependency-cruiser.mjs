// Who may import whom. Each rule is seen to fire in scripts/check/rules.test.mjs, on files planted for it.
//   core ← contract ← {server, runner, guest, cli} ← testkit        core ← git ← {server, cli, testkit}
// Inside the server: main → app → {http, live, coordinator} → features → {events, db}.
const TESTS = '\\.test\\.(ts|mjs)$|(^|/)testing[^/]*\\.ts$'

/** What each package may import besides itself. testkit may import all, and nothing that ships imports testkit. */
const ARROWS = {
  contract: ['core'],
  git: ['core'],
  runner: ['core', 'contract'],
  guest: ['core', 'contract'],
  server: ['core', 'contract', 'git'],
  cli: ['core', 'contract', 'git'],
}

const arrows = Object.entries(ARROWS).map(([name, allowed]) => ({
  name: `${name}-imports-only-${allowed.join('-and-')}`,
  severity: 'error',
  // Tests may use the testkit; it is held apart by its own rule.
  from: { path: `^packages/${name}/` },
  to: { path: '^packages/', pathNot: `^packages/(${[name, ...allowed, 'testkit'].join('|')})/` },
}))

export default {
  forbidden: [
    {
      name: 'core-imports-nothing-outside-itself',
      comment: 'core decides; it does no I/O and reads no clock, so it needs neither node: nor a library.',
      severity: 'error',
      from: { path: '^packages/core/', pathNot: TESTS },
      to: { pathNot: '^packages/core/' },
    },
    {
      name: 'core-tests-import-no-other-package',
      severity: 'error',
      from: { path: '^packages/core/' },
      to: { path: '^packages/', pathNot: '^packages/core/' },
    },
    ...arrows,
    {
      name: 'nothing-that-ships-imports-testkit',
      severity: 'error',
      from: { path: '^packages/(?!testkit/)', pathNot: TESTS },
      to: { path: '^packages/testkit/' },
    },
    {
      name: 'features-do-not-import-each-other',
      comment: 'app.ts hands functions over, or a reaction follows an event.',
      severity: 'error',
      from: { path: '^packages/server/features/([^/]+)/', pathNot: TESTS },
      to: { path: '^packages/server/features/', pathNot: '^packages/server/features/$1/' },
    },
    {
      name: 'features-do-not-import-what-composes-them',
      severity: 'error',
      from: { path: '^packages/server/features/', pathNot: TESTS },
      // The type of the context that each feature is handed is app.ts's own.
      to: { path: '^packages/server/(main\\.ts|app\\.ts|live/|coordinator/)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'queries-stay-inside-their-feature',
      severity: 'error',
      from: { pathNot: '^packages/server/features/' },
      to: { path: '^packages/server/features/[^/]+/queries\\.ts$' },
    },
    {
      name: 'routes-hold-no-sql',
      comment: 'Reading is queries → present, which a route may do; what a query is made of belongs in queries.ts.',
      severity: 'error',
      from: { path: '^packages/server/features/[^/]+/routes\\.ts$' },
      to: { path: '(^|/)node_modules/kysely/' },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'imports-resolve',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)fixtures/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
}
