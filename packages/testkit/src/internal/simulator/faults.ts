/**
 * Scripted faults: which requests a rule matches, how often, and when.
 */
import * as Duration from "effect/Duration"
import type { FaultAction } from "./actions.ts"
import { now, type State } from "./state.ts"

/** What a rule may look at. It holds no secret. */
export interface FaultRequest {
  readonly key: string | undefined
  readonly account: string | undefined
  readonly model: string | undefined
  readonly method: string
  readonly path: string
  readonly stream: boolean
  /** The parsed body; `undefined` if there is none. */
  readonly body: unknown
}

/** Which requests a rule is about; every field given must hold. An array means any of its values. */
export interface FaultMatch {
  /** Names of keys. */
  readonly key?: string | ReadonlyArray<string> | undefined
  /** Names of accounts. */
  readonly account?: string | ReadonlyArray<string> | undefined
  /** Ids of models, as the request names them. */
  readonly model?: string | ReadonlyArray<string> | undefined
  /** Paths after the base URL, such as `/key`, or `*` for all. Every inference endpoint by default. */
  readonly path?: string | ReadonlyArray<string> | undefined
  readonly stream?: boolean | undefined
  readonly predicate?: ((request: FaultRequest) => boolean) | undefined
}

/** A scripted fault. */
export interface FaultRule {
  /** Every inference request by default. */
  readonly match?: FaultMatch | undefined
  /** How many requests the rule hits before it is spent; no end by default. */
  readonly times?: number | undefined
  /** How many matching requests pass before the first hit; 0 by default. */
  readonly after?: number | undefined
  /** The chance of a hit for each match, drawn from `Random`; 1 by default. */
  readonly probability?: number | undefined
  /** When the rule holds, counted from the moment it is added: from 0 and without end by default. */
  readonly during?:
    | { readonly from?: Duration.Input | undefined; readonly until?: Duration.Input | undefined }
    | undefined
  readonly action: FaultAction
}

/** A rule that has been added. */
export interface Rule {
  readonly rule: FaultRule
  readonly from: number
  readonly until: number
  seen: number
  hits: number
}

const offset = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(input))

/** Adds a rule after those that are there: of several that match, the first one added wins. */
export const add = (state: State, rule: FaultRule): Rule => {
  const at = now(state)
  const added: Rule = {
    rule,
    from: at + offset(rule.during?.from, 0),
    until: at + offset(rule.during?.until, Infinity),
    seen: 0,
    hits: 0
  }
  state.rules = [...state.rules, added]
  return added
}

const among = (wanted: string | ReadonlyArray<string> | undefined, value: string | undefined): boolean =>
  wanted === undefined ||
  (value !== undefined && (typeof wanted === "string" ? wanted === value : wanted.includes(value)))

// Actions that need no request to be let in: they come before every check.
const isEarly = (action: FaultAction): boolean =>
  action._tag === "Status" || action._tag === "Reset" || action._tag === "Stall" || action._tag === "Garbage"

const streamOnly: ReadonlySet<FaultAction["_tag"]> = new Set([
  "FirstEventError",
  "MidStreamError",
  "Truncate",
  "Hang"
])

// Whether the action makes sense for a request: some exist only in streams, one only outside them.
const fits = (
  action: FaultAction,
  request: { readonly stream: boolean; readonly inference: boolean }
): boolean =>
  request.stream
    ? action._tag !== "ChoiceError"
    : !streamOnly.has(action._tag) && (request.inference || isEarly(action))

const matches = (rule: FaultRule, request: FaultRequest, inference: boolean): boolean => {
  const match = rule.match ?? {}
  return (
    (match.path === undefined ? inference : match.path === "*" || among(match.path, request.path)) &&
    among(match.key, request.key) &&
    among(match.account, request.account) &&
    among(match.model, request.model) &&
    (match.stream === undefined || match.stream === request.stream) &&
    fits(rule.action, { stream: request.stream, inference }) &&
    (match.predicate?.(request) ?? true)
  )
}

/**
 * The fault of a request, if a rule hits. It is asked twice: `early` before any check, for actions that need no request
 * to be let in, and once more when the request is let in, so that a refused one does not use up a rule.
 */
export const hit = (
  state: State,
  request: FaultRequest,
  options: { readonly early: boolean; readonly inference: boolean }
): FaultAction | undefined => {
  const at = now(state)
  for (const entry of state.rules) {
    const { action, after = 0, probability = 1, times = Infinity } = entry.rule
    if (isEarly(action) !== options.early || entry.hits >= times || at < entry.from || at >= entry.until)
      continue
    if (!matches(entry.rule, request, options.inference)) continue
    entry.seen++
    if (entry.seen <= after) continue
    if (probability < 1 && state.random.nextDoubleUnsafe() >= probability) continue
    entry.hits++
    return action
  }
  return undefined
}
