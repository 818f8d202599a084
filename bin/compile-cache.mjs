import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

/*
 * Loaded before a program of Swarm: what Node makes of its source (types stripped, functions compiled) is kept in the checkout and used
 * by the next process, which starts in half the time. Where the folder cannot be written, Node goes on without.
 */
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/swarm-compile', import.meta.url)))
