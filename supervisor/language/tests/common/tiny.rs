//! The smallest model that llama.cpp takes: one layer of 32 numbers, bytes for tokens, weights out of a counter. It says nothing of sense, and the same
//! each time.

/// Its file.
pub fn model() -> Vec<u8> {
    let tokens = tokens();
    let vocabulary = tokens.len() as u64;
    let mut entries = Vec::new();
    let mut count = 0_u64;
    let mut entry = |key: &str, ty: u32, value: &[u8]| {
        entries.extend([&text(key)[..], &ty.to_le_bytes(), value].concat());
        count += 1;
    };
    entry("general.architecture", 8, &text("llama"));
    entry("general.name", 8, &text("tiny"));
    for (key, value) in [("block_count", 1), ("context_length", 64), ("embedding_length", WIDTH), ("feed_forward_length", WIDTH)] {
        entry(&format!("llama.{key}"), 4, &u32::try_from(value).unwrap().to_le_bytes());
    }
    entry("llama.attention.head_count", 4, &1_u32.to_le_bytes());
    entry("llama.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes());
    entry("tokenizer.ggml.model", 8, &text("llama"));
    entry("tokenizer.ggml.tokens", 9, &array(8, &tokens.iter().map(|(token, _)| text(token)).collect::<Vec<_>>()));
    entry("tokenizer.ggml.scores", 9, &array(6, &tokens.iter().map(|_| 0_f32.to_le_bytes().to_vec()).collect::<Vec<_>>()));
    entry("tokenizer.ggml.token_type", 9, &array(5, &tokens.iter().map(|(_, ty)| ty.to_le_bytes().to_vec()).collect::<Vec<_>>()));
    for (key, id) in [("unknown", 0_u32), ("bos", 1), ("eos", 2)] {
        entry(&format!("tokenizer.ggml.{key}_token_id"), 4, &id.to_le_bytes());
    }
    let square = |name: &str| (format!("blk.0.{name}.weight"), vec![WIDTH, WIDTH]);
    let tensors: Vec<(String, Vec<u64>)> = [
        ("token_embd.weight".into(), vec![WIDTH, vocabulary]),
        ("output_norm.weight".into(), vec![WIDTH]),
        ("output.weight".into(), vec![WIDTH, vocabulary]),
        ("blk.0.attn_norm.weight".into(), vec![WIDTH]),
        ("blk.0.ffn_norm.weight".into(), vec![WIDTH]),
    ]
    .into_iter()
    .chain(["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].map(square))
    .collect();
    let mut file = [&b"GGUF\x03\0\0\0"[..], &(tensors.len() as u64).to_le_bytes(), &count.to_le_bytes(), &entries].concat();
    let mut data = Vec::new();
    for (name, dims) in &tensors {
        file.extend(text(name));
        file.extend(u32::try_from(dims.len()).unwrap().to_le_bytes());
        dims.iter().for_each(|dim| file.extend(dim.to_le_bytes()));
        file.extend(0_u32.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        for at in 0..dims.iter().product::<u64>() {
            data.extend(number(data.len() as u64 + at).to_le_bytes());
        }
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

const WIDTH: u64 = 32;

/// Between -1 and 1, without a pattern that matters.
fn number(at: u64) -> f32 {
    let mixed = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 40) as f32) / (1_u64 << 23) as f32 - 1.0
}

/// Tokens with their kinds: unknown, two control tokens, every byte, letters.
fn tokens() -> Vec<(String, i32)> {
    let control = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(token, ty)| (token.to_owned(), ty));
    let bytes = (0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), 6));
    let letters = ('a'..='z').map(|letter| (letter.to_string(), 1));
    control.into_iter().chain(bytes).chain(letters).collect()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn array(ty: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    [&ty.to_le_bytes()[..], &(elements.len() as u64).to_le_bytes(), &elements.concat()].concat()
}
