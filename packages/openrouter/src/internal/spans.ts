/**
 * A span for each call and one for each of its attempts, where somebody listens to spans. The names are those of
 * OpenTelemetry's conventions for generative AI (the state of autumn 2026); what these have no name for is `evenkeel.*`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { HttpClientRequest } from "effect/http"
import { Outcome, type Lease } from "@evenkeel/core"
import type { Failed, Lost, Sent } from "../BalancedHttpClient.ts"
import { answerFacts, type AnswerFacts } from "./answer.ts"
import { record } from "./classifier/facts.ts"
import { costOf } from "./credit/cost.ts"
import { parse } from "./json.ts"
import type { Refused } from "./failures.ts"
import type { RequestFacts } from "./requestFacts.ts"

/**
 * The call in a span of its own. Where whoever calls has told of the call already, as `effect/ai` does, its span is the
 * call's: told twice, tokens and costs would be counted twice.
 */
export const call = (
  send: Effect.Effect<Sent, Failed | Lost | Refused>,
  request: HttpClientRequest.HttpClientRequest,
  facts: RequestFacts
): Effect.Effect<Sent, Failed | Lost | Refused> =>
  Effect.withFiber((fiber) => {
    const parent = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
    if (parent?._tag === "Span" && parent.attributes.has("gen_ai.operation.name")) return send
    const clock = fiber.getRef(Clock.Clock)
    const { pathname, hostname, port, protocol } = new URL(request.url)
    const operation = operationOf(pathname)
    const name = operation ?? pathname.slice(pathname.lastIndexOf("/") + 1)
    return within(
      send,
      facts.upstream === undefined ? name : `${name} ${facts.upstream}`,
      {
        kind: "client",
        attributes: {
          "gen_ai.provider.name": "openrouter",
          "server.address": hostname,
          "server.port": port === "" ? (protocol === "http:" ? 80 : 443) : Number(port),
          ...(operation !== undefined && { "gen_ai.operation.name": operation }),
          ...(facts.upstream !== undefined && { "gen_ai.request.model": facts.upstream }),
          ...parametersOf(request)
        }
      },
      {
        begun: (span) => {
          if (span.status._tag !== "Started") return
          const since = clock.currentTimeNanosUnsafe() - span.status.startTime
          span.attribute("gen_ai.response.time_to_first_chunk", Number(since) / 1e9)
        },
        answered: (span, sent, outcome) => {
          const { body, stream } = sent
          const told =
            stream === undefined
              ? answerFacts(body)
              : answerFacts(stream.watch.first, stream.watch.last, stream.watch.usage)
          answer(span, told, outcome)
        },
        failed: (span, error) => {
          const own = error._tag === "Failed" || error._tag === "Lost"
          const kind = own ? (error.outcome.class ?? error._tag) : error._tag
          span.attribute("error.type", kind)
          return own ? kind : error.message
        }
      }
    )
  })

/** The attempt in a span of its own, below that of its call. */
export const attempt = (
  attempt: Effect.Effect<Sent, Failed | Lost>,
  { context, key }: Lease.Lease
): Effect.Effect<Sent, Failed | Lost> =>
  within(
    attempt,
    "evenkeel.attempt",
    {
      attributes: {
        "evenkeel.key.id": key.id,
        "evenkeel.attempt": context.attempt,
        ...(key.account !== undefined && { "evenkeel.account": key.account }),
        ...(context.upstream !== undefined && { "gen_ai.request.model": context.upstream })
      }
    },
    {
      begun: () => {},
      answered: (span, _sent, outcome) => told(span, outcome),
      failed: (span, { outcome }) => told(span, outcome)
    }
  )

interface Telling<E> {
  /** A stream has said its first word. */
  readonly begun: (span: Tracer.Span) => void
  /** The answer is over; of a stream that broke, the outcome is a fault. */
  readonly answered: (span: Tracer.Span, sent: Sent, outcome: Outcome.Outcome) => void
  /** Says what the failure is called. */
  readonly failed: (span: Tracer.Span, error: E) => string
}

/** Of a stream the span ends with the stream, of all else with the effect. */
const within = <E>(
  effect: Effect.Effect<Sent, E>,
  name: string,
  options: Tracer.SpanOptions,
  { answered, begun, failed }: Telling<E>
): Effect.Effect<Sent, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      // Not the fiber, nor anything else of it: a stream may outlive it.
      const clock = fiber.getRef(Clock.Clock)
      const end = (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>) =>
        span.end(clock.currentTimeNanosUnsafe(), exit)
      return Effect.flatMap(Effect.makeSpan(name, options), (span) =>
        Effect.onExit(restore(Effect.withParentSpan(effect, span, { captureStackTrace: false })), (exit) =>
          Effect.sync(() => {
            if (exit._tag === "Success") {
              const sent = exit.value
              const { body, lease, stream } = sent
              const over = (outcome: Outcome.Outcome) => {
                answered(span, sent, outcome)
                end(span, outcome._tag === "Faulted" ? failure(labelOf(outcome)) : Exit.void)
              }
              if (stream === undefined)
                return over(Outcome.success(costOf(body, lease.candidate.includesByok)))
              begun(span)
              stream.onFinish(over)
              return
            }
            const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
            end(span, error === undefined ? exit : failure(failed(span, error)))
          })
        )
      )
    })
  )

/** A name alone: the error itself has the request, and the answer with all that it quotes. */
const failure = (message: string) => Exit.fail(message)

const labelOf = (outcome: Outcome.Outcome): string =>
  outcome._tag === "Success"
    ? "none"
    : (outcome.class ?? (outcome._tag === "Faulted" ? outcome.reason : "none"))

const told = (span: Tracer.Span, outcome: Outcome.Outcome): string => {
  const label = labelOf(outcome)
  span.attribute("evenkeel.outcome", outcome._tag)
  if (outcome.cost !== undefined) span.attribute("evenkeel.cost", outcome.cost)
  if (outcome._tag === "Success") return label
  span.attribute("evenkeel.class", label)
  if (outcome.status !== undefined) span.attribute("http.response.status_code", outcome.status)
  if (outcome._tag === "Ignored") return label
  span.attribute("evenkeel.scope", outcome.scope)
  span.attribute("evenkeel.reason", outcome.reason)
  span.attribute("error.type", label)
  return label
}

const answer = (span: Tracer.Span, facts: AnswerFacts, outcome: Outcome.Outcome): void => {
  const { finishReasons, id, model, provider, usage } = facts
  const tell = (name: string, value: unknown) => value !== undefined && span.attribute(name, value)
  tell("gen_ai.response.id", id)
  tell("gen_ai.response.model", model)
  tell("openrouter.provider", provider)
  if (finishReasons.length > 0) tell("gen_ai.response.finish_reasons", finishReasons)
  tell("gen_ai.usage.input_tokens", usage?.inputTokens)
  tell("gen_ai.usage.output_tokens", usage?.outputTokens)
  tell("gen_ai.usage.cache_read.input_tokens", usage?.cachedTokens)
  tell("gen_ai.usage.reasoning.output_tokens", usage?.reasoningTokens)
  tell("gen_ai.usage.cost", outcome.cost)
  if (outcome._tag === "Faulted") tell("error.type", labelOf(outcome))
}

/** `undefined` for what is no work of a model: `/models`, `/generation`. */
const operationOf = (path: string): string | undefined => {
  if (/\/(chat\/completions|responses|messages)$/.test(path)) return "chat"
  if (path.endsWith("/completions")) return "text_completion"
  return path.endsWith("/embeddings") ? "embeddings" : undefined
}

const decoder = new TextDecoder()

/** What the request asks of the model, as far as the conventions have a name for it. Never what it says to it. */
const parametersOf = ({ body }: HttpClientRequest.HttpClientRequest): Record<string, unknown> => {
  if (body._tag !== "Uint8Array" || !body.contentType.includes("json")) return {}
  const fields = record(parse(decoder.decode(body.body)))
  if (fields === undefined) return {}
  const attributes: Record<string, unknown> = {}
  for (const [name, read, type] of parameters) {
    const value = read.map((field) => fields[field]).find((field) => field !== undefined && field !== null)
    if (typeof value === type) attributes[`gen_ai.request.${name}`] = value
  }
  const { stop } = fields
  if (typeof stop === "string") attributes["gen_ai.request.stop_sequences"] = [stop]
  return attributes
}

const parameters = [
  ["temperature", ["temperature"], "number"],
  ["top_p", ["top_p"], "number"],
  ["top_k", ["top_k"], "number"],
  ["max_tokens", ["max_completion_tokens", "max_tokens", "max_output_tokens"], "number"],
  ["frequency_penalty", ["frequency_penalty"], "number"],
  ["presence_penalty", ["presence_penalty"], "number"],
  ["seed", ["seed"], "number"],
  ["choice.count", ["n"], "number"],
  ["stream", ["stream"], "boolean"]
] as const
