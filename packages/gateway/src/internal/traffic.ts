/**
 * What has passed through: totals, the last minute second by second, and the last requests. All of it is bounded.
 */
import { amount, record } from "./json.ts"

/** One request, from its coming to the last byte of its answer. */
export class Passage {
  readonly route: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  model: string | undefined
  stream = false
  /** What the client was told; 499 if it had gone by then. */
  status = 499
  /** What went wrong, by its code; `undefined` if nothing did. */
  code: string | undefined = "client_closed_request"
  keyId: string | undefined
  attempts = 0
  promptTokens = 0
  completionTokens = 0
  /** USD; `undefined` if the answer does not tell. */
  cost: number | undefined

  constructor(route: string, startedAt: number) {
    this.route = route
    this.startedAt = startedAt
  }

  /** The answer is known, and is about to leave. */
  over(status: number, code?: string): void {
    this.status = status
    this.code = code
  }

  /** What the usage of an answer tells, in any skin's words. */
  used(usage: unknown): void {
    const fields = record(usage) ?? {}
    this.promptTokens = amount(fields["prompt_tokens"]) ?? amount(fields["input_tokens"]) ?? 0
    this.completionTokens = amount(fields["completion_tokens"]) ?? amount(fields["output_tokens"]) ?? 0
    this.cost = amount(fields["cost"])
  }
}

/** The sums of some time. */
export interface Sums {
  requests: number
  failures: number
  /** Clients that went before their answer was there. */
  aborted: number
  tokens: number
  /** USD. */
  cost: number
}

/** One request that is over, as the page shows it. */
export interface Past {
  readonly id: number
  /** When it was over, in milliseconds since the epoch. */
  readonly at: number
  readonly route: string
  readonly model: string | undefined
  readonly stream: boolean
  readonly status: number
  readonly code: string | undefined
  readonly keyId: string | undefined
  readonly attempts: number
  readonly durationMillis: number
  readonly tokens: number
  readonly cost: number | undefined
}

/** Seconds that are remembered. */
export const span = 60
/** Requests that are remembered. */
const most = 12

const none = (): Sums => ({ requests: 0, failures: 0, aborted: 0, tokens: 0, cost: 0 })

export class Traffic {
  readonly total = none()
  /** The youngest first. */
  recent: ReadonlyArray<Past> = []
  private readonly seconds = Array.from({ length: span }, none)
  /** The second of the youngest sums, since the epoch. */
  private now = 0
  private passed = 0

  /** Takes a request that is over. */
  add(passage: Passage, nowMillis: number): void {
    const { attempts, code, cost, keyId, model, route, startedAt, status, stream } = passage
    const tokens = passage.promptTokens + passage.completionTokens
    this.turn(nowMillis)
    for (const sums of [this.total, this.seconds[this.now % span]!]) {
      sums.requests++
      if (status === 499) sums.aborted++
      else if (code !== undefined) sums.failures++
      sums.tokens += tokens
      sums.cost += cost ?? 0
    }
    const past: Past = {
      id: ++this.passed,
      at: nowMillis,
      durationMillis: nowMillis - startedAt,
      attempts,
      code,
      cost,
      keyId,
      model,
      route,
      status,
      stream,
      tokens
    }
    this.recent = [past, ...this.recent.slice(0, most - 1)]
  }

  /** The last minute, the oldest second first; the last one is not over yet. */
  minute(nowMillis: number): ReadonlyArray<Readonly<Sums>> {
    this.turn(nowMillis)
    return Array.from({ length: span }, (_, i) => this.seconds[(this.now + 1 + i) % span]!)
  }

  /** Forgets what is older than a minute. */
  private turn(nowMillis: number): void {
    const second = Math.floor(nowMillis / 1000)
    // A clock that was set back stays in the youngest second.
    for (let s = Math.max(this.now + 1, second - span + 1); s <= second; s++) this.seconds[s % span] = none()
    if (second > this.now) this.now = second
  }
}
