/** What a text says as JSON; undefined when it is none: half written, torn, or of another version. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
