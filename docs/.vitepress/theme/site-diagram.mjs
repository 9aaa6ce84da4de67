import { useData, withBase } from 'vitepress';
import { defineComponent, h, onMounted, ref, watch } from 'vue';

const DRAWN_BY = '/diagrams/mermaid.js';
let loading;
let drawn = 0;

/** It has three megabytes, so that only a page with a diagram loads it. */
function load() {
  loading ??= new Promise((resolve, reject) => {
    const { document } = globalThis;
    const script = document.createElement('script');
    script.src = withBase(DRAWN_BY);
    script.onload = () => resolve(globalThis.mermaid);
    script.onerror = () => reject(new Error(`${DRAWN_BY} could not be loaded.`));
    document.head.append(script);
  });
  return loading;
}

/** A block of ```mermaid: its text until it is drawn, and where it cannot be. */
export const SiteDiagram = defineComponent({
  props: { text: { type: String, required: true } },
  setup(props) {
    const { isDark } = useData();
    const svg = ref('');
    async function draw() {
      const mermaid = await load();
      mermaid.initialize({
        startOnLoad: false,
        theme: isDark.value ? 'dark' : 'neutral',
        fontFamily: 'inherit',
      });
      drawn += 1;
      const { svg: picture } = await mermaid.render(`diagram-${drawn}`, decodeURIComponent(props.text));
      svg.value = picture;
    }
    onMounted(() => {
      void draw();
      watch(isDark, draw);
    });
    return () =>
      svg.value === ''
        ? h('pre', { class: 'site-diagram' }, decodeURIComponent(props.text))
        : h('div', { class: 'site-diagram', innerHTML: svg.value });
  },
});
