const form=document.querySelector('form'),verdict=document.querySelector('#verdict'),raw=document.querySelector('#raw');
form.addEventListener('submit',async event=>{
  event.preventDefault();
  const button=form.querySelector('button');button.disabled=true;verdict.className='';verdict.textContent='…';raw.textContent='';
  try{
    const body=new FormData();
    body.append('rgb',form.elements.rgb.files[0]);body.append('ir',form.elements.ir.files[0]);
    if(form.elements.meta.value.trim())body.append('meta',form.elements.meta.value);
    const headers={};if(form.elements.key&&form.elements.key.value)headers['X-API-Key']=form.elements.key.value;
    const response=await fetch('liveness',{method:'POST',body,headers});
    const answer=await response.json();
    if(response.ok){
      verdict.className=answer.decision;
      verdict.textContent=answer.decision+(answer.score===null?'':' · score '+answer.score.toFixed(4)+
        ' (live at or above '+answer.threshold.toFixed(4)+')')+(answer.reasons.length?' · '+answer.reasons.join(', '):'');
    }else{verdict.className='error';verdict.textContent=answer.title+': '+answer.detail;}
    raw.textContent=JSON.stringify(answer,null,1);
  }catch(error){verdict.className='error';verdict.textContent='The request failed: '+error.message;}
  finally{button.disabled=false;}
});
