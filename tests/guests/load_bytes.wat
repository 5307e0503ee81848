;; Asks wasi-nn to load a model from bytes that the guest brought along, and prints the errno.
;; Exit 0: refused, as it should be. Exit 42: the host took it.
(module
  (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  (data (i32.const 128) "\00\01\00\00\05\00\00\00")     ;; one builder: 5 bytes at 256
  (data (i32.const 256) "\08\09\3a\01\00")              ;; the beginning of an ONNX file
  (data (i32.const 1024) "load a model from bytes: errno ")
  (data (i32.const 1056) "\n")

  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; The number in decimal, written backwards to the bytes that end at 64.
  (func $print_number (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 64))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (local.get $number)))
    (call $print (local.get $at) (i32.sub (i32.const 64) (local.get $at))))

  (func (export "_start")
    (local $errno i32)
    ;; encoding 1 = onnx, target 0 = cpu, the graph's number to 16
    (local.set $errno (call $load (i32.const 128) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 16)))
    (call $print (i32.const 1024) (i32.const 31))
    (call $print_number (local.get $errno))
    (call $print (i32.const 1056) (i32.const 1))
    (if (i32.eqz (local.get $errno)) (then (call $proc_exit (i32.const 42))))))
