import swagger from '@fastify/swagger'
import scalar from '@scalar/fastify-api-reference'
import type { FastifyInstance } from 'fastify'
import { createJsonSchemaTransform } from 'fastify-type-provider-zod'

const toJsonSchema = createJsonSchemaTransform({ zodToJsonConfig: { unrepresentable: 'any' } })

/** `/openapi.json` (OpenAPI 3.1, made from the endpoints) and its page `/reference`, whose script is served from here and calls no other host. */
export async function addOpenApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Swarm', version, description: 'Turns a spec into merged, tested changes with AI coding agents.', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'The first admin token is in the file admin-token under SWARM_HOME.' } } },
    },
    // Only endpoints are the interface; what has no tag (this page, /metrics, git) is not in the document.
    transform: (route) => route.schema?.tags === undefined ? { schema: { hide: true }, url: route.url } : toJsonSchema(route),
  })
  app.get('/openapi.json', async () => app.swagger())
  await app.register(scalar, {
    routePrefix: '/reference',
    configuration: { url: '/openapi.json', pageTitle: 'Swarm API', withDefaultFonts: false, telemetry: false, proxyUrl: '', agent: { disabled: true } } as never,
    hooks: {
      onRequest: (_, reply, done) => {
        // The page starts itself by an inline script; it may reach this server only.
        reply.helmet({ contentSecurityPolicy: { directives: { 'script-src': ["'self'", "'unsafe-inline'"], 'connect-src': ["'self'"], 'upgrade-insecure-requests': null } } })
        done()
      },
    },
  })
}
