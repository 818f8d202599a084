/** A fault of the machine or its settings that the person can mend; printed without a stack. */
export class SetupError extends Error {}
