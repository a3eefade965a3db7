/**
 * The port to other processes that use the same keys: local decisions, shared facts.
 *
 * A fact tells what one process has learnt or done, and the others take it as if it were their own; what is heard is not
 * said again. Nothing here is waited for: a pick goes by what is known by then.
 */
import * as Context from "effect/Context"
import * as Stream from "effect/Stream"
import type { Reading } from "./Credits.ts"
import type { FaultReason, FaultScope } from "./Outcome.ts"

/**
 * A fact worth telling to others. It names ids only, never a secret. Times are in milliseconds since the epoch by the
 * clock of the process that is told, money is in USD.
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
      /** Of two facts about one scope the later one holds. */
      readonly until: number
    }
  | {
      readonly _tag: "Readmitted"
      readonly scope: FaultScope
      readonly id: string
      readonly within: string | undefined
    }
  /** A circuit has opened; of two deadlines the later one holds, and `Infinity` is until it is closed by hand. */
  | {
      readonly _tag: "Opened"
      readonly scope: FaultScope
      readonly id: string
      readonly until: number
      /** What has opened it: a policy, or `hand`. */
      readonly by: string
    }
  | { readonly _tag: "Closed"; readonly scope: FaultScope; readonly id: string }
  /** The credit of a key was read; `requestedAt` is set. */
  | {
      readonly _tag: "CreditRead"
      readonly keyId: string
      readonly reading: Reading
      /** What was spent by then and is not in the reading: whoever has just come knows nothing of it. */
      readonly debited: number
    }
  /** Others have spent this much since they last said so. */
  | { readonly _tag: "Debited"; readonly keyId: string; readonly usd: number }
  /** What all others have in flight together. It replaces what was said before: a key that is not listed has nothing. */
  | {
      readonly _tag: "Load"
      readonly keys: ReadonlyArray<FleetLoad>
      /**
       * How many uses they begin, on average, between these counts and the picks that go by them. 0, the default: the counts
       * are as good as new.
       */
      readonly arrivals?: number | undefined
      /** They cannot be heard now: this is what was heard last, and no part of a credit is waited for. */
      readonly alone: boolean
    }
  /** The owner of a key, as somebody said it. */
  | {
      readonly _tag: "Learnt"
      readonly keyId: string
      readonly account: string | undefined
      readonly workspace: string | undefined
    }
  | { readonly _tag: "Draining" | "Resumed" | "Removed"; readonly keyId: string }
  /** Another process has a new key. Secrets do not travel: a process that has no such key can only tell. */
  | { readonly _tag: "Added"; readonly keyId: string }

/**
 * What others do with one key.
 */
export interface FleetLoad {
  readonly keyId: string
  readonly inFlight: number
  /** USD that requests in flight may cost. */
  readonly held: number
  /** USD that are set aside for the next. */
  readonly aside: number
  /** How many other processes use the key of late, or know its credit. */
  readonly users: number
}

/**
 * What this process does with one key.
 */
export interface OwnLoad {
  readonly keyId: string
  readonly inFlight: number
  /** USD that requests in flight may cost. */
  readonly held: number
  /** USD that are set aside for the next. */
  readonly aside: number
  /** The credit of the key is known. */
  readonly capped: boolean
  /** Uses that this process has begun on the key since it knows it; it never falls. */
  readonly begun: number
  /** USD that this process has spent on the key since it knows it; it never falls. */
  readonly spent: number
}

/**
 * Where facts go to and come from.
 */
export interface SharedFacts {
  readonly name: string
  /** Hands on a fact of this process. Synchronous; it must not block or throw. */
  readonly publish: (fact: Fact) => void
  /**
   * The facts of the other processes, for as long as the pool lives. Each subscriber first hears what is in force, and then
   * what is new.
   */
  readonly facts: Stream.Stream<Fact>
  /**
   * Takes a way to read what this process does with its keys: it is read as often as it is told to others, so no request
   * pays for it. The result ends it.
   */
  readonly attach?: ((load: () => ReadonlyArray<OwnLoad>) => () => void) | undefined
  /** Whether this process is the one that reads credit for all. Default: it reads for itself. */
  readonly leads?: (() => boolean) | undefined
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
