import Fastify from 'fastify'
import { createAuthorization } from '../authorization/authorization.ts'
import type { Database } from '../db/database.ts'
import { newId } from '../ids.ts'
import type { HttpTarget } from './register.ts'

/** Somewhere to register the routes of a feature whose test calls its functions, not its routes. */
export const unheardRoutes = (db: Database): HttpTarget => ({ app: Fastify(), authorization: createAuthorization({ db, now: Date.now, makeId: newId }) })
