/**
 * What a pick costs by strategy and by the number of keys: the picker alone, and a whole use of a key that does nothing
 * (filters, pick, lease, outcome, settlement).
 */
import { Balancer, type Candidate, KeyPool, Selector } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { Headroom } from "@evenkeel/headroom"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { PeakEwma } from "@evenkeel/peak-ewma"
import { RoundRobin } from "@evenkeel/round-robin"
import { Threshold } from "@evenkeel/threshold"
import { Effect, Layer, ManagedRuntime } from "effect"
import { time, type Timed } from "./time.ts"

export interface PickRow {
  readonly strategy: string
  readonly keys: number
  readonly pick: Timed
  readonly use: Timed
}

const strategies: Readonly<Record<string, () => Selector.Selector>> = {
  "round-robin": () => RoundRobin.make(),
  "least-in-flight": () => LeastInFlight.make(),
  "least-in-flight, two choices": () => LeastInFlight.make({ choices: "two" }),
  "peak-ewma": () => PeakEwma.make(),
  "credit-aware": () => CreditAware.make(),
  threshold: () => Threshold.make(),
  headroom: () => Headroom.make()
}

type Pick = Selector.Picker["pick"]

const row = async (strategy: string, make: () => Selector.Selector, count: number): Promise<PickRow> => {
  let asked: Parameters<Pick> | undefined
  let inner: Pick | undefined
  const selector = make()
  const watched: Selector.Selector = {
    ...selector,
    make: Effect.map(selector.make, (picker) => {
      inner = picker.pick
      return {
        ...picker,
        pick: (...args: Parameters<Pick>): Candidate.Candidate => {
          asked = args
          return picker.pick(...args)
        }
      }
    })
  }
  const runtimeOf = (selector: Selector.Selector) => {
    const keys = Array.from({ length: count }, (_, i) => ({
      secret: `sk-${String(i).padStart(7, "0")}`,
      id: `key-${i}`
    }))
    return ManagedRuntime.make(
      Balancer.layer.pipe(Layer.provide(Selector.layer(selector)), Layer.provide(KeyPool.layer({ keys })))
    )
  }
  const watching = runtimeOf(watched)
  await watching.runPromise(Effect.flatMap(Balancer.Balancer, (balancer) => balancer.use(() => Effect.void)))
  const [candidates, context] = asked!
  const pick = time(() => inner!(candidates, context))
  await watching.dispose()

  const plain = runtimeOf(make())
  const balancer = await plain.runPromise(Balancer.Balancer)
  const nothing = balancer.use(() => Effect.void)
  const use = time(() => Effect.runSync(nothing))
  await plain.dispose()
  return { strategy, keys: count, pick, use }
}

const sizes = process.argv[2] === "full" ? [2, 8, 16, 64, 256, 1_000, 10_000] : [8, 16, 64, 10_000]
const rows: Array<PickRow> = []
const names =
  process.argv[2] === "full" ? Object.keys(strategies) : ["round-robin", "least-in-flight", "peak-ewma"]
for (const strategy of names)
  for (const count of sizes) rows.push(await row(strategy, strategies[strategy]!, count))
process.send!(rows, () => process.exit())
