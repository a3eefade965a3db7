/**
 * What happens to a pool, as its stream of changes tells it.
 */
import type { FaultReason, FaultScope } from "./Outcome.ts"

/** A change of the pool. Times are in milliseconds since the epoch, credit in USD. */
export type PoolEvent =
  | { readonly _tag: "KeyAdded"; readonly keyId: string }
  | { readonly _tag: "KeyChanged"; readonly keyId: string }
  | { readonly _tag: "KeyDraining"; readonly keyId: string }
  | { readonly _tag: "KeyResumed"; readonly keyId: string }
  | { readonly _tag: "KeyRemoved"; readonly keyId: string }
  /** Another process has a key of this id, and this one has not. */
  | { readonly _tag: "KeyMissing"; readonly keyId: string }
  | {
      readonly _tag: "Benched"
      readonly scope: FaultScope
      readonly id: string
      /** Set where it holds only for upstreams whose id ends so. */
      readonly within: string | undefined
      readonly reason: FaultReason
      readonly since: number
      readonly until: number
    }
  | {
      readonly _tag: "Readmitted"
      readonly scope: FaultScope
      readonly id: string
      /** As in `Benched`. */
      readonly within: string | undefined
    }
  | {
      readonly _tag: "CreditRead"
      readonly keyId: string
      readonly credit: number | undefined
      /** USD of the cap; `undefined` if there is none, or it is not known. */
      readonly limit: number | undefined
    }
