/**
 * The port to other processes that use the same keys: local decisions, shared facts.
 */
import * as Context from "effect/Context"
import * as Stream from "effect/Stream"
import type { FaultReason, FaultScope } from "./Outcome.ts"

/**
 * A fact worth telling to others. It names ids only, never a secret.
 */
export type Fact =
  | {
      readonly _tag: "Benched"
      readonly scope: FaultScope
      /** The key, workspace, account, upstream or host that is benched. */
      readonly id: string
      /** Set where it holds only for upstreams whose id ends so. */
      readonly within: string | undefined
      readonly reason: FaultReason
      readonly since: number
      /** Milliseconds since the epoch. Of two facts about one scope the later one holds. */
      readonly until: number
    }
  | {
      readonly _tag: "Readmitted"
      readonly scope: FaultScope
      readonly id: string
      readonly within: string | undefined
    }

/**
 * Where facts go to and come from.
 */
export interface SharedFacts {
  readonly name: string
  /** Hands on a fact of this process. Synchronous; it must not block or throw. */
  readonly publish: (fact: Fact) => void
  /** The facts of the other processes, for as long as the pool lives. */
  readonly facts: Stream.Stream<Fact>
}

/** This process only. */
export const local: SharedFacts = { name: "local", publish: () => {}, facts: Stream.empty }

/**
 * The shared facts of the pool; of this process only unless a layer says otherwise.
 */
export const SharedFacts: Context.Reference<SharedFacts> = Context.Reference<SharedFacts>(
  "@evenkeel/core/SharedFacts",
  {
    defaultValue: () => local
  }
)
