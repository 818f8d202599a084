import { once } from 'node:events'
import type { FastifyReply } from 'fastify'

/** Formats of a list as a file. */
export type ExportFormat = 'jsonl' | 'csv'
/** Columns of a CSV file: name, and what of an item is in it. */
export type CsvColumns<Item> = readonly (readonly [string, (item: Item) => string | number | null])[]

/**
 * Streams a list as a file, page after page, as fast as its reader takes it. The first page is read before the headers are
 * sent: what fails there is still answered as an error.
 * @param file.name without its ending
 */
export async function sendExport<Item>(reply: FastifyReply, signal: AbortSignal, file: { name: string; format: ExportFormat; columns: CsvColumns<Item>; pages: AsyncIterable<readonly Item[]> }): Promise<FastifyReply> {
  const { name, format, columns } = file
  const csv = format === 'csv'
  const pages = file.pages[Symbol.asyncIterator]()
  let page = await pages.next()
  const output = reply.hijack().raw
  output.writeHead(200, {
    ...Object.fromEntries(Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined)) as Record<string, string>,
    'content-type': csv ? 'text/csv; charset=utf-8' : 'application/jsonl; charset=utf-8', 'content-disposition': `attachment; filename="${name}.${format}"`,
  })
  if (csv) output.write(`${columns.map(([column]) => column).join(',')}\r\n`)
  const end = csv ? '\r\n' : '\n'
  const line = (item: Item): string => csv ? columns.map(([, value]) => csvField(value(item))).join(',') : JSON.stringify(item)
  for (; page.done !== true; page = await pages.next()) {
    const text = page.value.map((item) => `${line(item)}${end}`).join('')
    if (text !== '' && !output.write(text)) await once(output, 'drain', { signal })
  }
  output.end()
  return reply
}

/** A field of RFC 4180; text that a spreadsheet would take for a formula is marked as text. */
function csvField(value: string | number | null): string {
  const text = value === null ? '' : String(value)
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
