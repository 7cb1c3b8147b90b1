import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import type { ErrorObject, ValidateFunction } from 'ajv'
import { SerializerSelector, type Serializer, type SerializerFactory } from '@fastify/fast-json-stringify-compiler'
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'

/** What Fastify calls: false means that the faults are in `errors`. */
interface Validator {
  (data: unknown): boolean
  errors?: ErrorObject[] | null
}

/**
 * Checks requests against the schemas of the routes. Bodies are taken as they are written: no conversion between types, and an unknown key
 * is a fault instead of being dropped. Path and query come as text, and are read as the type that their schema names.
 * A route's checks are compiled when it is first asked for, like its answers: of some hundred routes a process uses few, and it starts sooner.
 */
export function validatorCompiler(): FastifySchemaCompiler<TSchema> {
  const written = new Ajv2020({ allErrors: true, strict: false, useDefaults: true, code: { optimize: false } })
  const text = new Ajv2020({ allErrors: true, strict: false, useDefaults: true, coerceTypes: 'array', code: { optimize: false } })
  for (const ajv of [written, text]) ajvFormats.default(ajv)
  return ({ schema, httpPart }) => {
    let compiled: ValidateFunction | undefined
    const validate: Validator = (data) => {
      compiled ??= (httpPart === 'body' ? written : text).compile(schema)
      const isValid = compiled(data)
      validate.errors = compiled.errors ?? null
      return isValid
    }
    return validate
  }
}

/** Writes answers by the schemas of the routes: what a schema does not name never leaves. */
export function lazySerializers(): SerializerFactory {
  const factory = SerializerSelector()
  return (externalSchemas, options) => {
    const compile = factory(externalSchemas, options)
    return (route) => {
      let serialize: Serializer | undefined
      return (answer) => (serialize ??= compile(route))(answer)
    }
  }
}
