// What the pages use of Preact. Properties are not checked: templates are texts.

export class Component {
  constructor(props?: any);
  props: any;
  shouldComponentUpdate?(next: any): boolean;
  componentDidMount?(): void;
  componentDidUpdate?(): void;
  render(props: any): any;
}

export const Fragment: any;
export function createRef(): { current: any };
export function h(type: any, props: any, ...children: any[]): any;
export function render(vnode: any, parent: Element | null): void;
