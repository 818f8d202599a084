/**
 * Every route that answers to somebody without credentials, and nothing else. The server refuses to start with a public
 * endpoint that is missing here, and a test asks every registered route as a stranger.
 */
export const PUBLIC_ROUTES: ReadonlySet<string> = new Set([
  'GET /health', 'HEAD /health',
  'GET /openapi.json', 'HEAD /openapi.json',
  'GET /reference', 'HEAD /reference', 'GET /reference/', 'HEAD /reference/',
  'GET /reference/js/scalar.js', 'HEAD /reference/js/scalar.js',
])
