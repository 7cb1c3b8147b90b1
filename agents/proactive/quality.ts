import { Type, type Static } from 'typebox'
import type { Firing } from './firing.ts'

const measured = (description: string) =>
  Type.Union([Type.Number(), Type.Null()], { description: `${description}; null: nobody has said yet` })

/** How good what agents began was, as people said: measured, never claimed. */
export const QualitySchema = Type.Object({
  begun: Type.Integer({ description: 'actions in the time that is kept' }),
  rated: Type.Integer({ description: 'of these, rated by people' }),
  accuracy: measured('part of the rated that was right, 0 to 1'),
  satisfaction: measured('mean of the stars, 1 to 5'),
  adoption: measured('part of the rated because of which somebody did something, 0 to 1'),
})
export type Quality = Static<typeof QualitySchema>

export function qualityOf(begun: number, rated: readonly Pick<Firing, 'rating'>[]): Quality {
  const ratings = rated.flatMap(({ rating }) => (rating === null ? [] : [rating]))
  const stars = ratings.flatMap((each) => (each.stars === null ? [] : [each.stars]))
  const share = (part: number): number | null => (ratings.length === 0 ? null : part / ratings.length)
  return {
    ...{ begun, rated: ratings.length },
    accuracy: share(ratings.filter(({ verdict }) => verdict === 'right').length),
    satisfaction: stars.length === 0 ? null : stars.reduce((sum, each) => sum + each, 0) / stars.length,
    adoption: share(ratings.filter(({ acted }) => acted).length),
  }
}
