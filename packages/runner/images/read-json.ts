import { readFileSync } from 'node:fs'
import type { z } from 'zod'

/**
 * What a JSON file says, by its schema; null when there is no such file, or none that can be read: a power cut leaves an empty one
 * behind a rename. For what can be made again, that is the same as not there.
 */
export function readJson<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> | null {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT')) return null
    throw error
  }
  return schema.safeParse(value).data ?? null
}
