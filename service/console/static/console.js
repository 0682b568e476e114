const facts=JSON.parse(document.querySelector('#facts').textContent),$=id=>document.getElementById(id);
const form=$('pair'),inputs=[...form.querySelectorAll('input[type=file]')];
const number=(value,digits=3)=>value===null||value===undefined?'–':value.toFixed(digits);
// Label each cell with its column's name, which narrow screens show beside the value.
const cell=(row,text,name)=>{
  const td=row.insertCell();td.textContent=text;if(name)td.className=name;
  td.dataset.label=row.closest('table').tHead.rows[0].cells[td.cellIndex].textContent;return td;
};
const sentence=text=>text.charAt(0).toUpperCase()+text.slice(1);
// Set a text only where it differs, so that screen readers do not repeat it.
const say=(id,text)=>{if($(id).textContent!==text)$(id).textContent=text;};
const words=codes=>codes.map(code=>facts.reasons[code]?facts.reasons[code].meaning:code).join(' ');
const advice=codes=>{for(const code of facts.order){if(codes.includes(code)&&facts.reasons[code].subject)return facts.reasons[code].subject;}return '';};

// After a session has expired, go to the login page.
async function ask(url,options){
  const response=await fetch(url,options);
  if(response.status===401&&facts.keyed){location.href='login?next=console';throw new Error('the session has expired; enter an API key.');}
  return response;
}

function show(input,file){
  const place=input.closest('.drop').querySelector('.preview');
  place.replaceChildren();
  if(!file)return;
  const image=new Image();image.alt=`Selected ${input.dataset.words} image`;
  image.onload=()=>URL.revokeObjectURL(image.src);image.src=URL.createObjectURL(file);
  place.append(image);
}
for(const input of inputs){
  const drop=input.closest('.drop');
  input.addEventListener('change',()=>show(input,input.files[0]));
  drop.addEventListener('dragover',event=>{event.preventDefault();drop.classList.add('over');});
  drop.addEventListener('dragleave',()=>drop.classList.remove('over'));
  drop.addEventListener('drop',event=>{
    event.preventDefault();drop.classList.remove('over');
    // Assign several dropped files by the modality in their names or, if a name has none, in the order dropped.
    const files=[...event.dataTransfer.files];
    if(files.length>=inputs.length){
      const named=inputs.map(one=>files.find(file=>file.name.toLowerCase().includes(one.name)));
      inputs.forEach((one,i)=>put(one,named.every(Boolean)?named[i]:files[i]));
    }else if(files.length)put(input,files[0]);
  });
}
function put(input,file){
  const list=new DataTransfer();list.items.add(file);input.files=list.files;show(input,file);
}

form.addEventListener('submit',async event=>{event.preventDefault();await judge();});
$('sample').addEventListener('click',async()=>{
  await busy(async()=>{
    const response=await ask(`console/sample?species=${encodeURIComponent($('species').value)}&subject=${Math.floor(Math.random()*1000)}`);
    if(!response.ok){refuse(await response.json());return;}
    const made=await response.json();
    for(const input of inputs){
      const bytes=Uint8Array.from(atob(made.images[input.name].data),c=>c.charCodeAt(0));
      put(input,new File([bytes],`${input.name}-${made.species}`,{type:made.images[input.name].type}));
    }
    await score();
  });
});
// A file that misses both places must not replace the page.
for(const kind of ['dragover','drop'])addEventListener(kind,event=>event.preventDefault());
async function busy(work){
  const used=document.activeElement;
  for(const button of form.querySelectorAll('button'))button.disabled=true;
  try{await work();}catch(error){refuse({title:'The request failed',detail:error.message});}
  finally{
    for(const button of form.querySelectorAll('button'))button.disabled=false;
    // A disabled button loses the focus. Return it, unless the user has moved on.
    if(document.activeElement===document.body)used.focus({preventScroll:true});
  }
}
const judge=()=>busy(score);
async function score(){
  const body=new FormData();
  for(const input of inputs){
    if(!input.files[0]){refuse({title:'An image is missing',detail:`Choose the ${input.dataset.words} image, or use a synthetic sample.`});return;}
    body.append(input.name,input.files[0]);
  }
  const response=await ask('liveness?explain=true',{method:'POST',body});
  const answer=await response.json();
  if(response.ok)present(answer);else refuse(answer);
}
function refuse(problem){
  $('answer').hidden=false;
  $('verdict').className='error';$('verdict').textContent=problem.title;
  $('words').textContent=sentence(problem.detail);
  $('scale').hidden=true;$('crops').replaceChildren();$('gates').replaceChildren();$('times').textContent='';
  $('raw').textContent=JSON.stringify(problem,null,1);
}
function present(answer){
  $('answer').hidden=false;
  $('verdict').className=answer.decision;
  $('verdict').textContent=facts.decisions[answer.decision];
  $('words').textContent=[words(answer.reasons),answer.decision==='uncertain'?advice(answer.reasons):''].filter(Boolean).join(' ');
  scale(answer);
  const pictures=Object.entries(answer.explain||{}).map(([name,data])=>{
    const figure=document.createElement('figure'),image=new Image(),caption=document.createElement('figcaption');
    image.src='data:image/png;base64,'+data;
    image.alt=answer.modalities[name].usable?`The network's attention over the ${facts.modalities[name]} crop; warmer colours mean more`:`The ${facts.modalities[name]} crop`;
    caption.className='soft';caption.textContent=sentence(`${facts.modalities[name]}: ${share(name,answer)}`);
    figure.append(image,caption);return figure;
  });
  $('crops').replaceChildren(...pictures);
  $('gates').replaceChildren();
  for(const gate of answer.quality){
    const row=$('gates').insertRow();
    cell(row,gate.name);cell(row,number(gate.value,2));
    cell(row,`${gate.range[0]===null?'':'from '+gate.range[0]} ${gate.range[1]===null?'':'to '+gate.range[1]}`.trim()||'any');
    cell(row,gate.status,gate.status);
  }
  $('times').textContent=Object.entries(answer.timing_ms).map(([name,ms])=>`${name} ${number(ms,1)} ms`).join(' · ');
  const {explain,...rest}=answer;
  $('raw').textContent=JSON.stringify(rest,null,1);
}
// What one image contributes. One that is not usable names no score, which would mean nothing, but the reason. An RGB
// image in the dark fails no gate where infrared leads.
function share(name,answer){
  const part=answer.modalities[name];
  if(part.usable)return part.score===null?'usable.':`score ${number(part.score)} on its own.`;
  return `not usable. ${words(answer.reasons.filter(code=>code.startsWith(name+'_')&&!code.endsWith('_spoof')))||'It is too dark; the other image decides.'}`;
}
function scale(answer){
  $('scale').hidden=answer.score===null;
  if(answer.score===null)return;
  const low=100*facts.band_low,high=100*answer.threshold;
  const zone=(id,from,to)=>{$(id).setAttribute('x',from);$(id).setAttribute('width',Math.max(0,to-from));};
  zone('zone-spoof',0,low);zone('zone-band',low,high);zone('zone-live',high,100);
  $('mark').setAttribute('x',Math.min(99.2,100*answer.score));
  $('scale-words').textContent=`Score ${number(answer.score)} of 1: spoof below ${number(facts.band_low)}, live at or above ${number(answer.threshold)}, uncertain between.`;
}

// The rig: decisions arrive as events; images are fetched one at a time and not kept.
const trace=[],decisions=new Map(),KEPT=5;let shown=-1,asking=false;
function watch(){
  if(!facts.rig)return;
  const source=new EventSource('events');
  source.onopen=()=>{$('live').hidden=false;$('rig-words').textContent='';};
  source.onerror=()=>{
    say('rig-words','Lost the connection to the service; reconnecting.');
    // A verdict that stays would be read as the current one.
    for(const id of ['live-verdict','live-words'])say(id,'');
  };
  source.addEventListener('pair',event=>judged(JSON.parse(event.data)));
  source.addEventListener('decision',event=>decided([JSON.parse(event.data)]));
  source.addEventListener('kiosk',event=>kiosk(JSON.parse(event.data)));
  source.addEventListener('cameras',event=>cameras(JSON.parse(event.data)));
}
// Newest first. Only the kiosk sends decisions, so only its page shows this list.
function decided(told){
  for(const one of told)if(!decisions.has(one.id))decisions.set(one.id,one);
  const newest=[...decisions.values()].sort((a,b)=>new Date(b.time)-new Date(a.time));
  for(const one of newest.splice(KEPT))decisions.delete(one.id);
  const rows=newest.map(one=>[new Date(one.time).toLocaleTimeString(),facts.decisions[one.decision]||one.decision,words(one.reasons)].filter(Boolean).join(' · '));
  const before=[...$('decisions').children].map(row=>row.textContent);
  if(rows.join()===before.join())return;
  $('decided').hidden=false;
  $('decisions').replaceChildren(...rows.map(text=>{const row=document.createElement('li');row.textContent=text;return row;}));
}
// The door, sent by the kiosk every second.
function kiosk(told){
  say('rig-title',`The rig of ${told.door}, ${told.site}`);
  $('door').hidden=false;say('door-state',`State: ${told.state}.`);
  $('outputs-part').hidden=!told.outputs.length;
  $('outputs').replaceChildren();
  for(const output of told.outputs){
    const row=$('outputs').insertRow(),count=name=>output.counts[name]||0;
    cell(row,output.name);cell(row,output.state,output.state==='working'?'':'fail');
    cell(row,String(count('sent')));cell(row,String(output.waiting));cell(row,String(count('failed')+count('expired')+count('overflow')));
    cell(row,output.last_error||'none');
  }
  decided(told.decisions);
}
// The conditions of /readyz, which returns 200 with warnings and 503 with a critical condition.
async function conditions(){
  if(document.hidden)return;
  const response=await fetch('readyz').catch(()=>null);
  if(!response)return;
  const found=(await response.json().catch(()=>({}))).conditions||[];
  $('conditions').replaceChildren(...found.map(one=>{
    const row=document.createElement('li');row.className=one.severity;
    row.textContent=`${one.name}${one.subject?` (${facts.modalities[one.subject]||one.subject})`:''}: ${one.detail}`;
    return row;
  }));
}
function judged(pair){
  const line=$('live-verdict');
  line.className=pair.decision;
  const skew=pair.skew_ms===null?'':` · skew ${number(pair.skew_ms,1)} ms`;
  line.textContent=`${pair.decision==='none'?'Nobody in view':facts.decisions[pair.decision]}${pair.score===null?'':' · '+number(pair.score)}${skew}`;
  say('live-words',pair.detail?sentence(pair.detail):words(pair.reasons));
  if(pair.score!==null)trace.push(pair.score);
  while(trace.length>120)trace.shift();
  $('line').setAttribute('points',trace.map((value,i)=>`${(300-(trace.length-1-i)*300/119).toFixed(1)},${(58-56*value).toFixed(1)}`).join(' '));
  if(pair.threshold!==null){const y=58-56*pair.threshold;$('limit').setAttribute('y1',y);$('limit').setAttribute('y2',y);
    $('limit-words').textContent=`threshold ${number(pair.threshold,2)}`;$('limit-words').style.top=`${(5*y/60-1).toFixed(2)}rem`;}
  $('trace-words').textContent=`Scores of the last ${trace.length} pairs. The dashed line is the threshold.`;
  frames(pair);
}
async function frames(pair){
  if(asking||document.hidden||pair.number===shown)return;
  asking=true;shown=pair.number;
  try{
    for(const name of facts.cameras){
      const response=await ask(`console/frame/${name}`);
      if(!response.ok)continue;
      const figure=frame(name),image=figure.querySelector('img'),old=image.src;
      image.src=URL.createObjectURL(await response.blob());
      if(old)URL.revokeObjectURL(old);
      const box=figure.querySelector('.box'),place=pair.boxes[name];
      box.hidden=!place;
      if(place)['left','top','width','height'].forEach((side,i)=>{box.style[side]=100*place[i]+'%';});
    }
  }catch(error){$('rig-words').textContent=error.message;}
  finally{asking=false;}
}
function frame(name){
  let figure=document.getElementById('frame-'+name);
  if(!figure){
    figure=document.createElement('figure');figure.id='frame-'+name;
    const around=document.createElement('div'),image=new Image(),box=document.createElement('div'),caption=document.createElement('figcaption');
    around.className='frame';box.className='box';box.hidden=true;image.alt=`Newest image of the ${facts.modalities[name]} camera`;
    caption.className='soft';caption.textContent=facts.modalities[name];
    around.append(image,box);figure.append(around,caption);$('frames').append(figure);
  }
  return figure;
}
function cameras(status){
  $('cameras').replaceChildren();
  for(const camera of status.cameras){
    const row=$('cameras').insertRow();
    cell(row,facts.modalities[camera.modality]);cell(row,camera.state,camera.state==='running'?'':'fail');cell(row,number(camera.fps,1));
    cell(row,Object.entries(camera.drops).map(([cause,count])=>`${count} ${cause}`).join(', ')||'none');cell(row,String(camera.reconnects));cell(row,camera.last_error||'none');
  }
  say('rig-words',status.advice||`${number(status.pairs_per_s,0)} pairs per second, strobe ${status.strobe}.`);
}
ask('info').then(response=>response.ok?response.json():null).then(info=>{
  const through=info?info.model.apcer_over_limit:[];
  if(through.length){
    $('through').hidden=false;
    $('through').textContent='This model lets attacks through: '+through.map(one=>`${one.species} ${one.errors} of ${one.trials}`).join(', ')+'.';
  }
  if(info)$('model').textContent=`${info.model.name} ${info.model.version} · ${info.engine.precision} on ${info.engine.backend}${info.engine.degraded?' (degraded)':''} · adsn ${info.version}`;
}).catch(()=>{});
// With a rig, show it first, on the page and in the tab order.
if(facts.rig){$('judge').before($('rig-part'));conditions();setInterval(conditions,2000);}
watch();
