import manifest from './package.json' with { type: 'json' }

/** Version of this Swarm. */
export const VERSION: string = manifest.version
