/**
 * The port to whoever grants a use of a key from outside of this process: for caps that must hold over many processes at
 * every moment. It is a step between the pick and the use, because it has to be waited for.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Ineligible } from "./Filter.ts"
import type { Lease } from "./Lease.ts"

/**
 * The answer: a permit that is given back when the lease settles, or why there is none. A refusal says until when the key,
 * its account or (scope `host`) every key is not to be asked for; a request that meets it takes another key, or waits.
 *
 * A permit that can lapse under its use says so: `lost` completes when it is another's, or may be. The use is cut off then,
 * and fails with `PermitLost`. Without `lost` nothing is raced.
 */
export type Answer =
  | {
      readonly _tag: "Granted"
      readonly release: () => void
      readonly lost?: Effect.Effect<void> | undefined
    }
  | { readonly _tag: "Refused"; readonly why: Ineligible & { readonly until: number } }

/**
 * Grants uses. `take` may wait for a network, may be interrupted, and must not fail.
 */
export interface Permits {
  readonly name: string
  readonly take: (lease: Lease) => Effect.Effect<Answer>
}

const granted: Answer = { _tag: "Granted", release: () => {} }

/** Grants everything, and is not asked. */
export const unneeded: Permits = { name: "unneeded", take: () => Effect.succeed(granted) }

/**
 * The permits of the balancer; not needed unless a layer says otherwise.
 */
export const Permits: Context.Reference<Permits> = Context.Reference<Permits>("@evenkeel/core/Permits", {
  defaultValue: () => unneeded
})
