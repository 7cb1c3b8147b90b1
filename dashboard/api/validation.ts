import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'

/**
 * Checks requests against the schemas of the routes. Bodies are taken as they are written: no conversion between types, and an unknown key
 * is a fault instead of being dropped. Path and query come as text, and are read as the type that their schema names.
 */
export function validatorCompiler(): FastifySchemaCompiler<TSchema> {
  const written = new Ajv2020({ allErrors: true, strict: false, useDefaults: true })
  const text = new Ajv2020({ allErrors: true, strict: false, useDefaults: true, coerceTypes: 'array' })
  for (const ajv of [written, text]) ajvFormats.default(ajv)
  return ({ schema, httpPart }) => (httpPart === 'body' ? written : text).compile(schema)
}
