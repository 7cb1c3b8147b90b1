import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright-core'

export type Violation = Awaited<ReturnType<AxeBuilder['analyze']>>['violations'][number]

/** What axe finds wrong with a page (WCAG 2.2 A and AA, best practices). */
export async function violationsOn(page: Page): Promise<Violation[]> {
  // In the page itself: there are no frames of elsewhere, for which axe would open another page each time. Of what passes nobody reads the list.
  const { violations } = await new AxeBuilder({ page })
    .setLegacyMode(true)
    .options({ resultTypes: ['violations'] })
    .analyze()
  return violations
}
