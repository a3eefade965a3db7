/**
 * What a row of the classifier's table is, and how the built-in ones are written.
 */
import type { Outcome } from "@evenkeel/core"
import type { Facts } from "./facts.ts"

/**
 * How sure a row is: `stated` by the answer itself, `inferred` from documented signs, or `guessed` from the bare status.
 */
export type Confidence = "stated" | "inferred" | "guessed"

/**
 * Whether a failed request may be on the bill in spite of its failure: where it may, what was held for it stays debited
 * until the next reading of the key's credit.
 */
export type Billed = "no" | "maybe"

/**
 * Whose fault an answer is; `request`: the caller's own, it benches nobody.
 */
export type Scope = Outcome.FaultScope | "request"

/**
 * One row: which answers it takes, and whose fault they are. The first row that matches wins.
 */
export interface Row<Class extends string = string> {
  /** The class of the failure: stable, for logs, metrics and `switch`. */
  readonly class: Class
  readonly status: (status: number) => boolean
  readonly when?: ((facts: Facts) => boolean) | undefined
  /** `request`: the caller's own, it benches nobody. */
  readonly scope: Scope | ((facts: Facts) => Scope)
  readonly reason: Outcome.FaultReason
  readonly retryable: Outcome.Retryable
  /** Until when the scope is out, in milliseconds since the epoch; by default what Retry-After says. */
  readonly until?: ((facts: Facts) => number | undefined) | undefined
  /**
   * Where the fault holds only for upstreams whose id ends so. `"upstream"` stands for the model of the request itself:
   * with scope `account` it benches that model on the keys of that account, and nothing else.
   */
  readonly within?: "upstream" | (string & {}) | undefined
  /** Default: `maybe` where an answer had begun, else `no`. */
  readonly billed?: Billed | undefined
  readonly confidence: Confidence
}

/** A status, several, all of a hundred, or all. */
type Statuses = number | ReadonlyArray<number> | "4xx" | "5xx" | "any"

/** One line of the table. */
export const row = <const Class extends string>(
  name: Class,
  status: Statuses,
  when: (facts: Facts) => boolean,
  scope: Row["scope"],
  reason: Outcome.FaultReason,
  retryable: Outcome.Retryable,
  confidence: Confidence,
  more: Pick<Row, "until" | "within" | "billed"> = {}
): Row<Class> => ({
  class: name,
  status: matcher(status),
  when,
  scope,
  reason,
  retryable,
  confidence,
  ...more
})

const matcher = (wanted: Statuses): ((status: number) => boolean) => {
  switch (wanted) {
    case "any":
      return () => true
    case "4xx":
      return (status) => status >= 400 && status < 500
    case "5xx":
      return (status) => status >= 500 && status < 600
    default:
      return typeof wanted === "number" ? (status) => status === wanted : (status) => wanted.includes(status)
  }
}
