/**
 * What a connection that failed teaches: whether the request may have been served, and billed, all the same.
 *
 * Sources: Node's documentation, "Errors" (`code`, `syscall`; codes of OpenSSL) and "net" (`autoSelectFamily`, whose
 * failures are one `AggregateError`); undici's list of errors (`UND_ERR_CONNECT_TIMEOUT`).
 */
import type { HttpClientError } from "effect/http"
import { Outcome } from "@evenkeel/core"
import * as Classifier from "../Classifier.ts"

/** What the balancer learns from a request that got no answer. */
export const outcomeOfLost = ({
  reason
}: HttpClientError.HttpClientError): Outcome.Faulted | Outcome.Ignored => {
  // What cannot be encoded or addressed never left, whatever the key.
  if (reason._tag === "EncodeError" || reason._tag === "InvalidUrlError") return unsendable
  return "cause" in reason && provesUnsent(reason.cause) ? unsent : Classifier.transport
}

const unsendable: Outcome.Ignored = { ...Outcome.ignored(0), class: "unsendable" }
const unsent: Outcome.Faulted = { ...Classifier.transport, cost: 0 }

/** Looking up the name and connecting come before the first byte of a request. */
const before = new Set(["connect", "getaddrinfo"])

/** The name, the way, or the certificate; a request is written only when all of them are good. */
const proofs =
  /^(ECONNREFUSED|ENOTFOUND|EAI_[A-Z]+|UND_ERR_CONNECT_TIMEOUT|CERT_[A-Z_]+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_[A-Z_]+|ERR_TLS_[A-Z_]+)$/

/** How far a chain of causes is followed. */
const depth = 5

/** Whether the error proves that not a byte of the request was sent. Where it does not, it may have been. */
const provesUnsent = (error: unknown, left = depth): boolean => {
  if (!(error instanceof Error) || left === 0) return false
  // Each of the addresses of a name was tried; one that may have been reached is enough for a doubt.
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.every((one) => provesUnsent(one, left - 1))
  const { code, syscall } = error as { readonly code?: unknown; readonly syscall?: unknown }
  if (typeof syscall === "string" && before.has(syscall)) return true
  if (typeof code === "string" && proofs.test(code)) return true
  return provesUnsent(error.cause, left - 1)
}
