import type { Participant } from '../../contracts/conversation.ts'

type Taken = Pick<Participant, 'turns' | 'tokens'>

/** What a conversation took in all its rounds. */
export interface Figures {
  totalTurns: number
  totalTokens: number
}

/** An agent's turn is over; `tokens`: that a provider said it used for what was said. */
export function afterTurn(participants: readonly Participant[], participant: string, tokens: number): Participant[] {
  return participants.map((each) => {
    if (each.id !== participant) return each
    const { turns = 0, tokens: before = 0 } = each
    return { ...each, turns: turns + 1, ...(before + tokens === 0 ? {} : { tokens: before + tokens }) }
  })
}

/** What goes with a participant that comes back. */
export function takenBy({ turns, tokens }: Taken): Taken {
  return { ...(turns === undefined ? {} : { turns }), ...(tokens === undefined ? {} : { tokens }) }
}

export function figuresOf(participants: readonly Taken[]): Figures {
  const sum = (of: (each: Taken) => number | undefined): number => participants.reduce((total, each) => total + (of(each) ?? 0), 0)
  return { totalTurns: sum(({ turns }) => turns), totalTokens: sum(({ tokens }) => tokens) }
}
