/**
 * Every route that answers to somebody without credentials, and nothing else. The server refuses to start with a public
 * endpoint that is missing here, and a test asks every registered route as a stranger.
 */
export const PUBLIC_ROUTES: ReadonlySet<string> = new Set([
  'GET /health', 'HEAD /health',
  'GET /openapi.json', 'HEAD /openapi.json',
  'GET /reference', 'HEAD /reference', 'GET /reference/', 'HEAD /reference/',
  'GET /reference/js/scalar.js', 'HEAD /reference/js/scalar.js',
  // Sign-in, register, reset, invitation and first set-up, OAuth, device login.
  'GET /api/auth/sign-in', 'HEAD /api/auth/sign-in', 'POST /api/auth/sign-in', 'POST /api/auth/sign-in/two-factor', 'POST /api/auth/register',
  'POST /api/auth/password/forgot', 'POST /api/auth/password/reset', 'POST /api/auth/invitations/show', 'POST /api/auth/invitations/redeem',
  'GET /api/auth/github', 'HEAD /api/auth/github', 'GET /api/auth/callback/github', 'HEAD /api/auth/callback/github', 'POST /api/auth/device/code', 'POST /api/auth/device/token',
])
