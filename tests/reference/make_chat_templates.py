"""Makes ../data/chat_templates.json: chat templates as their families publish them, and what Jinja renders of a conversation.

    pip install jinja2 && python make_chat_templates.py > ../data/chat_templates.json
"""

from __future__ import annotations

import json

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
            case["second"] = render([say("user", QUESTION), say("assistant", ANSWER), say("user", SECOND)])
        if style and has_system:
            case["system"] = render([say("system", SYSTEM), say("user", QUESTION)])
        cases.append(case)
    print(json.dumps(cases, indent=1))


if __name__ == "__main__":
    main()
