/**
 * The prices of models, from `GET /models`: public and free of charge. Whatever goes wrong there, the prices known so far
 * stay.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { HttpClient, HttpClientRequest } from "effect/http"
import { record } from "../classifier/facts.ts"

/** USD a token of the prompt, a token of the answer, and a request. */
export interface Price {
  readonly prompt: number
  readonly completion: number
  readonly request: number
}

/** Models kept; OpenRouter lists several hundred. */
const maxModels = 8192

export class Prices {
  private byModel: ReadonlyMap<string, Price> = new Map()

  get size(): number {
    return this.byModel.size
  }

  /** The price of a model; of a variant without one (`:nitro`, `:floor`, `:online` …) that of its base model. */
  of(model: string): Price | undefined {
    const price = this.byModel.get(model)
    if (price !== undefined || this.byModel.size === 0) return price
    const colon = model.lastIndexOf(":")
    return colon === -1 ? undefined : this.byModel.get(model.slice(0, colon))
  }

  /** Takes the body of an answer of `GET /models`; `false` if there is no price in it, and then the old ones stay. */
  take(body: unknown): boolean {
    const data = record(body)?.["data"]
    if (!Array.isArray(data)) return false
    const prices = new Map<string, Price>()
    for (const item of data) {
      if (prices.size >= maxModels) break
      const { id, pricing } = record(item) ?? {}
      const price = priceOf(record(pricing))
      if (typeof id === "string" && price !== undefined) prices.set(id, price)
    }
    if (prices.size === 0) return false
    this.byModel = prices
    return true
  }
}

/** One model of another shape must not cost us the prices of the others, so no schema stands over the list. */
const priceOf = (pricing: Readonly<Record<string, unknown>> | undefined): Price | undefined => {
  const prompt = amount(pricing?.["prompt"])
  const completion = amount(pricing?.["completion"])
  return prompt === undefined || completion === undefined
    ? undefined
    : { prompt, completion, request: amount(pricing?.["request"]) ?? 0 }
}

/** Prices are decimal strings. A router's is "-1": it depends on the model that is chosen. */
const amount = (value: unknown): number | undefined => {
  const usd = typeof value === "string" && value !== "" ? Number(value) : value
  return typeof usd === "number" && usd >= 0 && usd < Infinity ? usd : undefined
}

const patience = "30 seconds"
const hour = 3_600_000
/** After a failure: an hour of guesses would be long. */
const soon = 60_000

/** Reads the prices now, and again every hour, for ever. */
export const watchPrices = (
  client: HttpClient.HttpClient,
  baseUrl: string,
  prices: Prices
): Effect.Effect<never> => {
  const read = client.execute(HttpClientRequest.get(`${baseUrl}/models`)).pipe(
    Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    Effect.flatMap((response) =>
      // The body is read in any case: one that is left unread holds its connection.
      Effect.map(response.json, (body) => response.status === 200 && prices.take(body))
    ),
    Effect.timeout(patience),
    Effect.catchCause(() => Effect.succeed(false))
  )
  return Effect.forever(
    Effect.flatMap(Effect.all([read, Random.next]), ([taken, r]) =>
      Effect.sleep((taken ? hour : soon) * (0.9 + 0.2 * r))
    )
  )
}
