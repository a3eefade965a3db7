/**
 * Tests of programs that speak to OpenRouter, without OpenRouter.
 */
export * as Simulator from "./Simulator.ts"
export * as TestSelector from "./TestSelector.ts"
