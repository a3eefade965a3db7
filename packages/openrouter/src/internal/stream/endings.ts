/**
 * How streams end that do not end as they should.
 */
import { HttpClientError, type HttpClientResponse } from "effect/http"
import { Outcome } from "@evenkeel/core"
import type { Answer } from "../../Classifier.ts"

/** The end came without the word that it is one. */
export const truncated: Outcome.Faulted = Outcome.faulted({
  scope: "upstream",
  reason: "unavailable",
  class: "truncated",
  retryable: "never",
  cost: undefined
})

/** A stream that ends before it has said anything: some provider's failure. */
export const empty: Answer = {
  status: 200,
  headers: {},
  body: {
    error: {
      code: 502,
      message: "The stream ended before it said anything",
      metadata: { provider_name: "unknown" }
    }
  }
}

const broken =
  (description: string) =>
  ({ request }: HttpClientResponse.HttpClientResponse) =>
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({ request, description })
    })

export const silence = broken("The stream fell silent")
export const lapsed = broken("The permit of the stream has lapsed")

export const unreadable = (response: HttpClientResponse.HttpClientResponse, cause: Error) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.DecodeError({
      request: response.request,
      response,
      cause,
      description: "An event of the stream is too long"
    })
  })
