// What the pages use of uPlot.

export default class uPlot {
  constructor(options: object, data: readonly any[], place: HTMLElement);
  root: HTMLElement;
  over: HTMLElement;
  ctx: CanvasRenderingContext2D;
  bbox: { left: number; top: number; width: number; height: number };
  cursor: { idx?: number | null; left?: number };
  data: any[][];
  destroy(): void;
  setData(data: readonly any[]): void;
  setSize(size: { width: number; height: number }): void;
  valToPos(value: number, scale: string, isCanvas?: boolean): number;
}
