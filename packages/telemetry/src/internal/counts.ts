/**
 * What is counted as it happens, event by event, within the requests themselves: nothing here waits or reads a clock.
 */
import type * as Context from "effect/Context"
import type { BalancerEvent, Outcome, PoolEvent } from "@evenkeel/core"
import { catalogue, type Definition } from "./catalogue.ts"
import { Family } from "./family.ts"
import type { Names } from "./names.ts"

type Event = BalancerEvent.BalancerEvent | PoolEvent.PoolEvent
type Settled = Extract<Event, { readonly _tag: "Settled" }>
type Counted = {
  [K in keyof typeof catalogue]: (typeof catalogue)[K] extends Definition<"counter" | "histogram"> ? K : never
}[keyof typeof catalogue]

export class Counts {
  private readonly families: Readonly<Record<Counted, Family>>
  private readonly models: Names
  private readonly classes: Names
  /** What settles behind the removal of its key would begin the key's series anew. */
  private readonly keys: Set<string>

  constructor(context: Context.Context<never>, models: Names, classes: Names, keys: ReadonlyArray<string>) {
    this.models = models
    this.classes = classes
    this.keys = new Set(keys)
    this.families = Object.fromEntries(
      Object.entries(catalogue)
        .filter(([, { type }]) => type !== "gauge")
        .map(([name, definition]) => [name, new Family(definition as Definition<"counter">, context)])
    ) as Record<Counted, Family>
  }

  take(event: Event): void {
    const { families } = this
    switch (event._tag) {
      case "Picked":
        if (event.delayMillis > 0)
          families.waits.update(event.delayMillis / 1000, this.models.of(event.upstream))
        return
      case "Settled":
        return this.settled(event)
      case "Rotated":
      case "Retried": {
        if (!this.keys.has(event.keyId)) return
        const family = event._tag === "Rotated" ? families.rotations : families.retries
        return family.update(1, event.keyId, event.account ?? "none", this.classOf(event.outcome))
      }
      case "Hedged":
        return families.hedges.update(1, this.models.of(event.upstream))
      case "Queued":
        return families.queued.update(1, this.models.of(event.upstream))
      case "Finished": {
        const model = this.models.of(event.upstream)
        families.requests.update(1, model, event.result, this.classOf(event.outcome))
        return families.requestDuration.update(event.elapsedMillis / 1000, model, event.result)
      }
      case "Benched":
        return families.benches.update(1, event.scope, event.reason)
      case "KeyAdded":
        this.keys.add(event.keyId)
        return
      case "KeyRemoved":
        this.keys.delete(event.keyId)
        for (const name of ofKeys) families[name].forget(event.keyId)
        return
      default:
    }
  }

  private settled({
    account = "none",
    answeredMillis,
    elapsedMillis,
    keyId,
    outcome,
    upstream,
    usage
  }: Settled): void {
    const { families } = this
    const model = this.models.of(upstream)
    if (answeredMillis !== undefined) families.timeToFirstToken.update(answeredMillis / 1000, model)
    if (!this.keys.has(keyId)) return
    const end = ends[outcome._tag]
    families.attempts.update(1, keyId, account, model, end, this.classOf(outcome))
    families.attemptDuration.update(elapsedMillis / 1000, keyId, account, end)
    if (outcome.cost !== undefined) families.cost.update(outcome.cost, keyId, account, model)
    if (usage === undefined) return
    const { cachedTokens, inputTokens, outputTokens } = usage
    if (inputTokens !== undefined) families.tokens.update(inputTokens, keyId, account, model, "input")
    if (outputTokens !== undefined) families.tokens.update(outputTokens, keyId, account, model, "output")
    if (cachedTokens !== undefined) families.cachedTokens.update(cachedTokens, keyId, account, model)
  }

  private classOf(outcome: Outcome.Outcome | undefined): string {
    if (outcome === undefined || outcome._tag === "Success") return "none"
    return this.classes.of(outcome.class ?? (outcome._tag === "Faulted" ? outcome.reason : undefined))
  }
}

const ends = { Success: "success", Ignored: "ignored", Faulted: "fault" } as const

const ofKeys = [
  "attempts",
  "attemptDuration",
  "rotations",
  "retries",
  "tokens",
  "cachedTokens",
  "cost"
] as const
