/**
 * The limiter's state and its one writer: a cell for each key and each account, and which use is counted where.
 */
import { Gate, type Candidate, type Filter, type Limiter, type Outcome } from "@evenkeel/core"
import type { Limits } from "../Limits.ts"
import { Cell, type State } from "./cell.ts"
import { Concurrency, type Settings } from "./concurrency.ts"

/** The limits by name, and those of all others. */
export interface Book {
  readonly general: Limits
  readonly named: Map<string, Limits>
}

export interface Rules {
  readonly keys: Book
  readonly accounts: Book
  /** `undefined`: throttles teach nothing. */
  readonly adaptive: Settings | undefined
}

/** A key, and its uses in flight with the account that each is counted on: a key may get another account meanwhile. */
interface KeyCell {
  readonly own: Cell
  readonly uses: Map<number, Cell>
  /** The account of its own that a key has while nobody knows whose it is. */
  alone: Cell | undefined
}

/** From this many accounts on, those at rest are let go. */
const manyAccounts = 1024

export class Pacer implements Limiter.Limiter {
  readonly name = "pacing"
  private readonly wakes = new Gate.Wakes()
  readonly freed = this.wakes.freed
  private readonly rules: Rules
  private readonly keys = new Map<string, KeyCell>()
  private readonly accounts = new Map<string, Cell>()
  private sweepAt = manyAccounts
  /** Numbers uses over all keys, so that no number ever comes back. */
  private latest = 0
  /** Whether there has ever been a limit, given or learnt: until then no key need be looked up. */
  private limited: boolean

  constructor(rules: Rules) {
    this.rules = rules
    this.limited = [rules.keys, rules.accounts].some(
      ({ general, named }) => isLimit(general) || Array.from(named.values()).some(isLimit)
    )
  }

  readonly filter = (
    candidate: Candidate.Candidate,
    context: Candidate.PickContext
  ): Filter.Ineligible | undefined => {
    if (!this.limited) return undefined
    const { nowMillis } = context
    const key = this.keys.get(candidate.id)
    const own = key?.own
    const account = candidate.account === undefined ? key?.alone : this.accounts.get(candidate.account)
    const tokens = tokensOf(context)
    const keyAt = own === undefined ? -Infinity : own.readyAt(tokens, nowMillis)
    const accountAt = account === undefined ? -Infinity : account.readyAt(tokens, nowMillis)
    // A time is worth more than an event that nobody can foresee, and of two times the later one is true.
    if (accountAt > nowMillis && accountAt >= keyAt) return paced("account", account!, accountAt)
    if (keyAt > nowMillis) return paced("key", own!, keyAt)
    if (own?.isSaturated(nowMillis) === true) return saturatedKey
    return account?.isSaturated(nowMillis) === true ? saturatedAccount : undefined
  }

  readonly headroom = (
    { account, id }: Candidate.Candidate,
    nowMillis: number
  ): Candidate.Headroom | undefined => {
    if (!this.limited) return undefined
    const key = this.keyOf(id)
    const owner = account === undefined ? aloneOf(key, this.rules, id) : this.accountOf(account, nowMillis)
    const requests = Math.min(key.own.requestsLeft(nowMillis), owner.requestsLeft(nowMillis))
    const tokens = Math.min(key.own.tokensLeft(nowMillis), owner.tokensLeft(nowMillis))
    if (requests === Infinity && tokens === Infinity) return undefined
    return {
      requests: requests === Infinity ? undefined : requests,
      tokens: tokens === Infinity ? undefined : tokens
    }
  }

  readonly admit = ({ account, id }: Candidate.Candidate, context: Candidate.PickContext): number => {
    const { nowMillis } = context
    const tokens = tokensOf(context)
    const key = this.keyOf(id)
    const owner = account === undefined ? aloneOf(key, this.rules, id) : this.accountOf(account, nowMillis)
    key.own.take(tokens, nowMillis)
    owner.take(tokens, nowMillis)
    const admission = ++this.latest
    key.uses.set(admission, owner)
    return admission
  }

  readonly record = (
    { id }: Candidate.Candidate,
    _context: Candidate.PickContext,
    admission: number,
    outcome: Outcome.Outcome,
    nowMillis: number
  ): void => {
    const key = this.keys.get(id)
    const account = key?.uses.get(admission)
    if (key === undefined || account === undefined) return
    if (outcome._tag === "Success") account.succeeded(admission)
    else if (isThrottle(outcome)) {
      account.throttled(admission, this.latest, nowMillis)
      this.limited = true
    }
    key.uses.delete(admission)
    key.own.inFlight--
    account.inFlight--
  }

  readonly forget = (id: string): void => {
    const key = this.keys.get(id)
    if (key === undefined) return
    for (const account of key.uses.values()) account.inFlight--
    this.keys.delete(id)
  }

  // --- by hand --------------------------------------------------------------

  limitKey(id: string, limits: Limits | undefined, nowMillis: number): void {
    const { keys } = this.rules
    this.limited = true
    enter(keys, id, limits)
    this.keys.get(id)?.own.change(limitsIn(keys, id), nowMillis)
    this.wakes.wake()
  }

  limitAccount(name: string, limits: Limits | undefined, nowMillis: number): void {
    const { accounts } = this.rules
    this.limited = true
    enter(accounts, name, limits)
    const alone = name.startsWith(nameAlone("")) ? this.keys.get(name.slice(nameAlone("").length)) : undefined
    for (const cell of [this.accounts.get(name), alone?.alone])
      cell?.change(limitsIn(accounts, name), nowMillis)
    this.wakes.wake()
  }

  keyStates(nowMillis: number): ReadonlyMap<string, State> {
    return new Map(Array.from(this.keys, ([id, { own }]) => [id, own.state(nowMillis)]))
  }

  accountStates(nowMillis: number): ReadonlyMap<string, State> {
    const states = new Map(Array.from(this.accounts, ([name, cell]) => [name, cell.state(nowMillis)]))
    for (const [id, { alone }] of this.keys) {
      if (alone !== undefined) states.set(nameAlone(id), alone.state(nowMillis))
    }
    return states
  }

  // --- cells ----------------------------------------------------------------

  private keyOf(id: string): KeyCell {
    let key = this.keys.get(id)
    if (key === undefined) {
      const own = new Cell(limitsIn(this.rules.keys, id), undefined)
      key = { own, uses: new Map(), alone: undefined }
      this.keys.set(id, key)
    }
    return key
  }

  private accountOf(name: string, nowMillis: number): Cell {
    let cell = this.accounts.get(name)
    if (cell === undefined) {
      if (this.accounts.size >= this.sweepAt) this.sweep(nowMillis)
      cell = accountCell(this.rules, name)
      this.accounts.set(name, cell)
    }
    return cell
  }

  /** Accounts leave nobody a word when their last key goes, so those are let go that a new one would equal. */
  private sweep(nowMillis: number): void {
    for (const [name, cell] of this.accounts) if (cell.isAtRest(nowMillis)) this.accounts.delete(name)
    // Where most are in use, the next sweep waits until there are twice as many, so that it stays cheap for each.
    this.sweepAt = Math.max(manyAccounts, this.accounts.size * 2)
  }
}

const nameAlone = (id: string): string => `key:${id}`

const accountCell = ({ accounts, adaptive }: Rules, name: string): Cell =>
  new Cell(limitsIn(accounts, name), adaptive === undefined ? undefined : new Concurrency(adaptive))

const aloneOf = (key: KeyCell, rules: Rules, id: string): Cell =>
  (key.alone ??= accountCell(rules, nameAlone(id)))

const isLimit = ({ maxInFlight, requestsPerMinute, tokensPerMinute }: Limits): boolean =>
  maxInFlight !== undefined || requestsPerMinute !== undefined || tokensPerMinute !== undefined

const limitsIn = ({ general, named }: Book, name: string): Limits => named.get(name) ?? general

const enter = ({ named }: Book, name: string, limits: Limits | undefined): void => {
  if (limits === undefined) named.delete(name)
  else named.set(name, limits)
}

/** What is not known, or no number, counts for nothing. */
const tokensOf = ({ tokens }: Candidate.PickContext): number =>
  tokens !== undefined && tokens > 0 && tokens < Infinity ? tokens : 0

/** The account's word that it is too much at once; a limit for some upstreams alone says nothing about the others. */
const isThrottle = (outcome: Outcome.Outcome): boolean =>
  outcome._tag === "Faulted" &&
  outcome.reason === "throttled" &&
  (outcome.scope === "account" || outcome.scope === "key") &&
  outcome.within === undefined

const paced = (scope: "key" | "account", cell: Cell, until: number): Filter.Ineligible => ({
  reason: "paced",
  scope,
  since: cell.usedAt,
  until
})

const saturated = (scope: "key" | "account"): Filter.Ineligible => ({
  reason: "saturated",
  scope,
  since: undefined,
  until: undefined
})
const saturatedKey = saturated("key")
const saturatedAccount = saturated("account")
