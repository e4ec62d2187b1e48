// What the pages use of Preact's hooks.

type Cleanup = void | undefined | (() => void);

export function useCallback<T>(callback: T, inputs: readonly any[]): T;
export function useEffect(effect: () => Cleanup, inputs?: readonly any[]): void;
export function useId(): string;
export function useLayoutEffect(effect: () => Cleanup, inputs?: readonly any[]): void;
export function useMemo<T>(make: () => T, inputs: readonly any[]): T;
export function useRef<T = any>(initial: T): { current: T };
export function useState<T = any>(initial: T | (() => T)): [T, (next: T | ((before: T) => T)) => void];
