/** What a text says as JSON; undefined when it is none: half written, torn, or not meant to be. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
