import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/*
 * Holds requests against an OpenAPI 2 file: just what firecracker.yaml uses of it. A field that a schema does not name is refused, as
 * Firecracker does, unless the schema says `additionalProperties`.
 */

interface Schema {
  $ref?: string
  type?: 'object' | 'string' | 'integer' | 'boolean' | 'array'
  required?: string[]
  properties?: Record<string, Schema>
  additionalProperties?: boolean | Schema
  items?: Schema
  enum?: unknown[]
  minimum?: number
  maximum?: number
}
interface Parameter { name: string; in: 'body' | 'path'; required?: boolean; schema?: Schema }
interface Operation { operationId: string; parameters?: Parameter[] }
interface Document { paths: Record<string, Record<string, Operation>>; definitions: Record<string, Schema> }

export interface CheckedRequest {
  /** Null when there is no such path or method. */
  operationId: string | null
  /** What is wrong with it, one sentence each; empty when it is valid. */
  problems: string[]
}

export interface Api { check(method: string, path: string, body: unknown): CheckedRequest }

/** @param path of the OpenAPI file; without it there is nothing to hold requests against, and an error */
export function readApi(path: string): Api {
  const document = parse(readFileSync(path, 'utf8')) as Document
  const routes = Object.entries(document.paths).map(([template, operations]) => {
    const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '')
    return { pattern: new RegExp(`^${template.replace(/\{\w+\}/g, '([A-Za-z0-9_]+)')}$`), names, operations }
  })

  function validate(schema: Schema, value: unknown, at: string): string[] {
    if (schema.$ref !== undefined) {
      const named = document.definitions[schema.$ref.replace('#/definitions/', '')]
      return named === undefined ? [`${at}: ${schema.$ref} is not defined`] : validate(named, value, at)
    }
    const problems = schema.enum !== undefined && !schema.enum.includes(value) ? [`${at} is ${JSON.stringify(value)}, not one of ${schema.enum.join(', ')}`] : []
    if (schema.type === 'object' || schema.properties !== undefined) return [...problems, ...validateObject(schema, value, at)]
    if (schema.type === 'array') return Array.isArray(value) ? value.flatMap((each, index) => validate(schema.items ?? {}, each, `${at}[${index}]`)) : [`${at} is no array`]
    if (schema.type === 'integer') {
      if (!Number.isInteger(value)) return [`${at} is no integer`]
      if (Number(value) < (schema.minimum ?? -Infinity) || Number(value) > (schema.maximum ?? Infinity)) problems.push(`${at} is ${String(value)}, out of ${schema.minimum ?? ''}…${schema.maximum ?? ''}`)
    } else if (schema.type !== undefined && typeof value !== schema.type) problems.push(`${at} is no ${schema.type}`)
    return problems
  }

  function validateObject(schema: Schema, value: unknown, at: string): string[] {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${at} is no object`]
    const missing = (schema.required ?? []).filter((name) => !(name in value)).map((name) => `${at}.${name} is missing`)
    return [...missing, ...Object.entries(value).flatMap(([name, each]) => {
      const known = schema.properties?.[name]
      if (known !== undefined) return validate(known, each, `${at}.${name}`)
      if (schema.additionalProperties === undefined || schema.additionalProperties === false) return [`${at}.${name} is no known field`]
      return schema.additionalProperties === true ? [] : validate(schema.additionalProperties, each, `${at}.${name}`)
    })]
  }

  return {
    check(method, path, body) {
      for (const { pattern, names, operations } of routes) {
        const match = pattern.exec(path)
        const operation = match === null ? undefined : operations[method.toLowerCase()]
        if (match === null || operation === undefined) continue
        const expected = operation.parameters?.find((each) => each.in === 'body')
        if (expected?.schema === undefined) return { operationId: operation.operationId, problems: body === undefined ? [] : ['it takes no body'] }
        if (body === undefined) return { operationId: operation.operationId, problems: expected.required === true ? ['its body is missing'] : [] }
        // Firecracker holds an id in the path against the one in the body.
        const ids = names.flatMap((name, index) => typeof body === 'object' && body !== null && name in body && (body as Record<string, unknown>)[name] !== match[index + 1] ? [`${name} of the path and of the body differ`] : [])
        return { operationId: operation.operationId, problems: [...validate(expected.schema, body, 'body'), ...ids] }
      }
      return { operationId: null, problems: [`there is no ${method} ${path}`] }
    },
  }
}
