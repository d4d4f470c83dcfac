"""Makes ../data/chat_templates.json: chat templates as their families publish them, and what Jinja renders of a conversation.

    pip install jinja2 && python make_chat_templates.py > ../data/chat_templates.json
"""

from __future__ import annotations

import json
import re

from jinja2.sandbox import ImmutableSandboxedEnvironment

RAISE = "{{ raise_exception('no') }}"
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}" + RAISE + "{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)  # fmt: skip
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)  # fmt: skip
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)  # fmt: skip
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}" + RAISE + "{% endif %}{% endfor %}"
)  # fmt: skip
MISTRAL_V3 = (
    "{%- if tools is not none %}{{- '[AVAILABLE_TOOLS] ' }}{%- endif %}{{- bos_token }}{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + '[/INST]' }}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content']|trim + eos_token}}{%- endif %}{%- endfor %}"
)  # fmt: skip
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip
PHI_3 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)  # fmt: skip
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)  # fmt: skip
NANOCHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<|user_start|>{{ message['content'] }}<|user_end|>"
    "{% else %}<|assistant_start|>{{ message['content'] }}<|assistant_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant_start|>{% endif %}"
)  # fmt: skip

PHI_3_ROLES = (
    "{{ bos_token }}{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")
MISTRAL_NO_TOOLS = (
    "{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + '[/INST]' }}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content']|trim + eos_token}}{%- endif %}{%- endfor %}")

# Templates with a system text of their own.
QWEN_2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip
QWEN_2_5 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""".replace("\\\\n", "\\n")
QWEN_3 = r"""{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
""".replace("\\\\n", "\\n")
QWQ = QWEN_3.replace("'<|im_start|>assistant\\n' }}", "'<|im_start|>assistant\\n<think>\\n' }}")
LLAMA_3_1 = r"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
""".replace("\\\\n", "\\n")
LLAMA_3_2 = LLAMA_3_1.replace(
    '{%- set date_string = "26 Jul 2024" %}',
    '{%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}')
GEMMA_3 = r"""{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\n' }}
{%- endif -%}
""".replace("\\\\n", "\\n")
SMOLLM2 = QWEN_2.replace("You are a helpful assistant.", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
SMOLLM3 = CHATML.replace("{% for", "{{ '<|im_start|>system\n## Metadata\n\nReasoning Mode: /think\n' }}{% for")
HERMES = "{{bos_token}}" + CHATML
OLMO_2 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + '\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'assistant' %}"
    "{% if not loop.last %}{{ '<|assistant|>\n'  + message['content'] + eos_token + '\n' }}{% else %}{{ '<|assistant|>\n'  + message['content'] + eos_token }}"
    "{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}"
)  # fmt: skip
PHI_3_5 = PHI_3.replace("{{ bos_token }}", "").replace("'system' %}", "'system' and message['content'] %}")
PHI_4 = (
    "{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}"
    "{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)  # fmt: skip
DEEPSEEK = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)  # fmt: skip
MISTRAL_V7 = MISTRAL_NO_TOOLS.replace("{%- if message", "{%- if message['role'] == 'system' %}{{- '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{%- elif message", 1)

# style, template, bos, eos, whether it takes a system message
FAMILIES = [
    ("nanochat", NANOCHAT, "<|bos|>", "<|assistant_end|>", False),
    ("chatml", CHATML, "", "<|im_end|>", True),
    ("llama-2", LLAMA_2, "<s>", "</s>", True),
    ("llama-3", LLAMA_3, "<|begin_of_text|>", "<|eot_id|>", True),
    ("mistral", MISTRAL, "<s>", "</s>", False),
    ("mistral-v3", MISTRAL_V3, "<s>", "</s>", False),
    ("gemma", GEMMA, "<bos>", "<eos>", False),
    ("phi-3", PHI_3, "<s>", "<|endoftext|>", True),
    ("phi-3", PHI_3_ROLES, "<s>", "<|endoftext|>", True),
    ("mistral-v3", MISTRAL_NO_TOOLS, "<s>", "</s>", False),
    (None, MISTRAL_NO_TOOLS.replace("[INST] ", "[INST]"), "<s>", "</s>", False),  # as Mistral Nemo writes it
    ("zephyr", ZEPHYR, "<s>", "</s>", True),
    ("chatml", QWEN_2, "", "<|im_end|>", True),
    ("chatml", QWEN_2_5, "", "<|im_end|>", True),
    ("chatml", QWEN_3, "", "<|im_end|>", True),
    ("chatml", SMOLLM2, "", "<|im_end|>", True),
    ("chatml-bos", HERMES, "<|begin_of_text|>", "<|im_end|>", True),
    ("llama-3.1", LLAMA_3_1, "<|begin_of_text|>", "<|eot_id|>", True),
    ("llama-3.1", LLAMA_3_2, "<|begin_of_text|>", "<|eot_id|>", True),
    ("gemma", GEMMA_3, "<bos>", "<end_of_turn>", True),
    ("phi-3", PHI_3_5, "", "<|end|>", True),
    ("olmo-2", OLMO_2, "<|endoftext|>", "<|endoftext|>", True),
    (None, OLMO_2.replace("{{ bos_token }}", ""), "", "<|endoftext|>", True),  # Tulu 3, Falcon 3: other tokens end an answer
    (None, QWQ, "", "<|im_end|>", True),
    (None, SMOLLM3, "", "<|im_end|>", True),
    (None, PHI_4, "", "<|im_end|>", True),
    (None, DEEPSEEK, "", "", True),
    (None, MISTRAL_V7, "<s>", "</s>", True),
    (None, "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}", "", "", True),
    (None, "{% for m in messages %}<|im_start|>{{ m['role'] }}<|im_sep|>{{ m['content'] }}<|im_end|>{% endfor %}<|im_start|>assistant<|im_sep|>", "", "", True),
]
SYSTEM, QUESTION, ANSWER, SECOND = "Be brief.", "What is 2+2?", "Four.", "And <|im_end|> 3?"

# What the model itself writes, where the template puts white space around it.
WRITTEN = {"llama-2": " Four. ", "mistral-v3": " Four."}


def main() -> None:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    cases = []
    for style, text, bos, eos, has_system in FAMILIES:
        template = environment.from_string(text)
        render = lambda messages: template.render(messages=messages, bos_token=bos, eos_token=eos, add_generation_prompt=True, tools=None)
        say = lambda role, content: {"role": role, "content": content}
        case = {"style": style, "template": text, "bos": bos, "messages": [SYSTEM, QUESTION, WRITTEN.get(style, ANSWER), SECOND]}
        if style:
            case["first"] = render([say("user", QUESTION)])
            own = re.search(r"<\|im_start\|>system(?:\n|\\n)([^'\"<]+)<", text)
            if own or style == "llama-3.1":
                case["own"] = own[1] if own else ""
            case["second"] = render([say("user", QUESTION), say("assistant", ANSWER), say("user", SECOND)])
        if style and has_system:
            case["system"] = render([say("system", SYSTEM), say("user", QUESTION)])
        cases.append(case)
    print(json.dumps(cases, indent=1))


if __name__ == "__main__":
    main()
