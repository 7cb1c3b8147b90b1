import { Type, type Static } from 'typebox'
import { LabelMatchersSchema, matches, type LabelMatcher } from '../../contracts/label-matcher.ts'
import { isDate, isTimeZone } from '../../kernel/zoned-time.ts'
import { onCallAt, ScheduleSchema, type Schedule } from './schedule.ts'
import { whyUnreachable, type Taking } from './unreachable.ts'

const DEPTH_MAX = 8
const ROUTES_MAX = 500
const Name = Type.String({ minLength: 1, maxLength: 64 })

/** Who is told: endpoints, or whoever a schedule says is on call. */
const ReceiverSchema = Type.Object(
  {
    name: Name,
    endpoints: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 64 }), { minItems: 1, maxItems: 50, uniqueItems: true })),
    schedule: Type.Optional(Name),
  },
  { additionalProperties: false },
)
export type Receiver = Static<typeof ReceiverSchema>

/** A node: notices that match go on to the first of `routes` that matches, and to further ones after `continue`; else to its receiver. */
export interface Route {
  matchers?: LabelMatcher[]
  receiver?: string
  continue?: boolean
  routes?: Route[]
}
const RouteSchema = Type.Unsafe<Route>({
  type: 'object',
  properties: {
    matchers: LabelMatchersSchema,
    receiver: { ...Name, description: 'name of a receiver; absent: the one of the route above' },
    continue: Type.Boolean({ description: 'its later siblings are tried too' }),
    routes: { type: 'array', maxItems: 100, items: { type: 'object' } },
  },
  additionalProperties: false,
})

export const RoutingSchema = Type.Object(
  {
    receivers: Type.Array(ReceiverSchema, { maxItems: 200 }),
    schedules: Type.Array(ScheduleSchema, { maxItems: 50 }),
    route: RouteSchema,
  },
  { additionalProperties: false },
)
export type Routing = Static<typeof RoutingSchema>
export { RouteSchema }

export interface RoutingFault {
  /** Dotted, from the root of what was sent. */
  path: string
  problem: string
}

/** Everything that keeps a tree from being: names that are not there, twice or in a circle, routes that nothing can reach. */
export function routingFaults(
  routing: Routing,
  isEndpoint: (id: string) => boolean,
  checkRoute: (value: unknown) => RoutingFault[],
): RoutingFault[] {
  const faults: RoutingFault[] = []
  const say = (path: string, problem: string): void => void faults.push({ path, problem })
  const receivers = uniqueNames(routing.receivers, 'receivers', say)
  const schedules = uniqueNames(routing.schedules, 'schedules', say)
  routing.receivers.forEach(({ name, endpoints, schedule }, i) => {
    const path = `receivers.${i}`
    if ((endpoints === undefined) === (schedule === undefined)) say(path, `"${name}" needs endpoints or a schedule, one of the two`)
    if (schedule !== undefined && !schedules.has(schedule)) say(`${path}.schedule`, `there is no schedule "${schedule}"`)
    endpoints?.forEach((id, j) => {
      if (!isEndpoint(id)) say(`${path}.endpoints.${j}`, `there is no endpoint ${id}`)
    })
  })
  const direct = new Set(routing.receivers.filter(({ endpoints }) => endpoints !== undefined).map(({ name }) => name))
  routing.schedules.forEach((schedule, i) => scheduleFaults(schedule, `schedules.${i}`, direct, say))
  if ((routing.route.matchers ?? []).length > 0) say('route.matchers', 'the root must match everything, so that nothing is lost')
  if (routing.route.receiver === undefined) say('route.receiver', 'the root needs a receiver')
  let routes = 0
  /** Answers whether it has the shape of a route. */
  const walk = (route: Route, path: string, depth: number, way: Way): boolean => {
    if (depth > DEPTH_MAX) say(path, `is deeper than ${DEPTH_MAX}`)
    if (++routes === ROUTES_MAX + 1) say(path, `there are more than ${ROUTES_MAX} routes`)
    if (routes > ROUTES_MAX || depth > DEPTH_MAX) return false
    const shape = checkRoute(route)
    for (const fault of shape) say(fault.path === '' ? path : `${path}.${fault.path}`, fault.problem)
    if (shape.length > 0) return false
    if (route.receiver !== undefined && !receivers.has(route.receiver)) say(`${path}.receiver`, `there is no receiver "${route.receiver}"`)
    const { matchers = [] } = route
    const why = way.isOpen ? whyUnreachable(matchers, way.above, way.before) : null
    if (why !== null) say(path, why)
    const below: Way = { isOpen: way.isOpen && why === null, above: [...way.above, ...matchers], before: [] }
    ;(route.routes ?? []).forEach((child, i) => {
      if (!walk(child, `${path}.routes.${i}`, depth + 1, below) || child.continue === true) return
      below.before.push({ path: `routes.${i}`, matchers: child.matchers ?? [] })
    })
    return true
  }
  walk(routing.route, 'route', 0, { isOpen: true, above: [], before: [] })
  return faults
}

/** What leads to a route. */
interface Way {
  /** Something can come this far. */
  isOpen: boolean
  above: LabelMatcher[]
  before: Taking[]
}

function uniqueNames(named: readonly { name: string }[], path: string, say: (path: string, problem: string) => void): Set<string> {
  const names = new Set<string>()
  named.forEach(({ name }, i) => {
    if (names.has(name)) say(`${path}.${i}.name`, `there is another "${name}"`)
    names.add(name)
  })
  return names
}

function scheduleFaults(schedule: Schedule, path: string, direct: ReadonlySet<string>, say: (path: string, problem: string) => void): void {
  if (!isTimeZone(schedule.timeZone))
    say(`${path}.timeZone`, `"${schedule.timeZone}" is no time zone of the IANA database, such as Europe/Berlin`)
  if (!isDate(schedule.startsOn)) say(`${path}.startsOn`, `${schedule.startsOn} is no date`)
  const check = (member: string, where: string): void => {
    if (!direct.has(member)) say(where, `there is no receiver "${member}" with endpoints of its own`)
  }
  schedule.members.forEach((member, i) => check(member, `${path}.members.${i}`))
  schedule.overrides.forEach(({ member, from, until }, i) => {
    check(member, `${path}.overrides.${i}.member`)
    if (until <= from) say(`${path}.overrides.${i}.until`, 'it must end after it begins')
  })
}

/** The receivers of a notice, in order of the tree, each once; with the path of the route that chose it. */
export function receiversOf(routing: Routing, labels: Readonly<Record<string, string>>): { receiver: string; path: string }[] {
  const chosen = new Map<string, string>()
  const walk = (route: Route, path: string, inherited: string | undefined): void => {
    const receiver = route.receiver ?? inherited
    let wasTaken = false
    for (const [i, child] of (route.routes ?? []).entries()) {
      if (!matches(child.matchers ?? [], labels)) continue
      wasTaken = true
      walk(child, `${path}.routes.${i}`, receiver)
      if (child.continue !== true) break
    }
    if (!wasTaken && receiver !== undefined && !chosen.has(receiver)) chosen.set(receiver, path)
  }
  walk(routing.route, 'route', undefined)
  return [...chosen].map(([receiver, path]) => ({ receiver, path }))
}

/** The endpoints behind these receivers now, each once. */
export function endpointsOf(routing: Routing, receivers: readonly string[], nowMs: number): string[] {
  const byName = new Map(routing.receivers.map((receiver) => [receiver.name, receiver]))
  const schedules = new Map(routing.schedules.map((schedule) => [schedule.name, schedule]))
  const ids = receivers.flatMap((name) => {
    const receiver = byName.get(name)
    if (receiver?.endpoints !== undefined) return receiver.endpoints
    const schedule = schedules.get(receiver?.schedule ?? '')
    return schedule === undefined ? [] : (byName.get(onCallAt(schedule, nowMs))?.endpoints ?? [])
  })
  return [...new Set(ids)]
}
