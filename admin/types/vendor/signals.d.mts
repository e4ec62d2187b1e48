// What the pages use of Signals.

export interface Signal<T> {
  value: T;
}

export function batch<T>(change: () => T): T;
export function computed<T>(compute: () => T): { readonly value: T };
export function effect(run: () => void): () => void;
export function signal<T = any>(value: T): Signal<T>;
