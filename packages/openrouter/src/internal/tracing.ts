/**
 * What a request to OpenRouter carries of the caller's spans: nothing. Traces are none of OpenRouter's business; and where nobody
 * listens to spans none are made, since they would cost as much as the rest of the request.
 */
import * as Context from "effect/Context"
import * as Tracer from "effect/Tracer"
import { HttpClient } from "effect/http"

/** From the surroundings of a request to those of what it sends. */
export type Tracing = (context: Context.Context<never>) => Context.Context<never>

/**
 * Requests of one program mostly have the same surroundings, and a changed copy takes longer than all the rest of a pick; so the
 * last one is kept, for as long as the client is there.
 */
export const make = (): Tracing => {
  let last: Context.Context<never> | undefined
  let changed!: Context.Context<never>
  return (context) => {
    if (context !== last) {
      last = context
      changed = heard(context)
        ? Context.add(context, HttpClient.TracerPropagationEnabled, false)
        : Context.add(context, HttpClient.TracerDisabledWhen, always)
    }
    return changed
  }
}

/** Whether somebody listens to spans. */
export const heard = (context: Context.Context<never>): boolean =>
  Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer

const always = () => true
