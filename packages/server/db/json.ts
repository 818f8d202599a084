import type { z } from 'zod'

/** A value for a JSON column, which is text on both dialects so that the same queries serve both. */
export function json(value: unknown): string {
  return JSON.stringify(value) ?? 'null'
}

/** Reads a JSON column through the schema of the feature that writes it. Throws ZodError when the row does not fit. */
export function fromJson<S extends z.ZodType>(schema: S, text: string): z.output<S> {
  return schema.parse(JSON.parse(text))
}
