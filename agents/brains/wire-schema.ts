import type { TSchema } from 'typebox'

type Json = Record<string, unknown>

/**
 * What every provider's structured output knows of JSON Schema: types, properties, enumerations, items. Lengths, patterns and counts are not
 * understood everywhere and refused here and there; the reply is checked against the whole schema anyway.
 */
export function plainSchema(schema: TSchema): Json {
  return plain(schema as unknown as Json)
}

function plain(schema: Json): Json {
  const { type, properties, items, enum: values, const: constant } = schema
  if (Array.isArray(schema.anyOf)) return { anyOf: (schema.anyOf as Json[]).map(plain) }
  if (values !== undefined || constant !== undefined) {
    const all = (values ?? [constant]) as unknown[]
    return { type: typeOf(type, all), enum: all }
  }
  if (properties !== undefined) {
    const inner = Object.fromEntries(Object.entries(properties as Record<string, Json>).map(([name, each]) => [name, plain(each)]))
    return { type: 'object', properties: inner, required: Object.keys(inner), additionalProperties: false }
  }
  if (type === 'array') return { type, items: plain(items as Json) }
  return { type }
}

function typeOf(type: unknown, values: readonly unknown[]): unknown {
  if (type !== undefined) return type
  const types = [...new Set(values.map((value) => (value === null ? 'null' : typeof value)))]
  return types.length === 1 ? types[0] : types
}

/** The same for Gemini's `responseSchema`, a part of OpenAPI 3.0: upper-case types, `nullable`, no `additionalProperties`. */
export function geminiSchema(schema: TSchema): Json {
  return gemini(plainSchema(schema))
}

function gemini(schema: Json): Json {
  const types = [schema.type].flat().filter((type) => type !== 'null')
  const isNullable = [schema.type].flat().includes('null')
  const values = (schema.enum as unknown[] | undefined)?.filter((value) => value !== null)
  return {
    // A value that can only be null has no type there: any text that may be left out.
    type: String(types[0] ?? 'string').toUpperCase(),
    ...(isNullable ? { nullable: true } : {}),
    ...(values === undefined || values.length === 0 ? {} : { enum: values, format: 'enum' }),
    ...(schema.properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(schema.properties as Record<string, Json>).map(([name, each]) => [name, gemini(each)]),
          ),
          required: schema.required,
          propertyOrdering: schema.required,
        }),
    ...(schema.items === undefined ? {} : { items: gemini(schema.items as Json) }),
  }
}
