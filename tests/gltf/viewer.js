// Loads model.glb as any three.js page would, and hands what it sees to the test.
import * as THREE from 'three';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';

const SIZE = 512;
const gltf = await new GLTFLoader().loadAsync('./model.glb');
const meshes = [];
gltf.scene.traverse((node) => { if (node.isSkinnedMesh) meshes.push(node); });

const base64 = (floats) => {
  const bytes = new Uint8Array(floats.buffer);
  let text = '';
  for (let start = 0; start < bytes.length; start += 32768) text += String.fromCharCode(...bytes.subarray(start, start + 32768));
  return btoa(text);
};

const summary = () => ({
  meshes: meshes.map((mesh) => ({ material: mesh.material.name, kind: mesh.material.type, targets: mesh.morphTargetDictionary, vertices: mesh.geometry.attributes.position.count })),
  joints: meshes[0].skeleton.bones.map((bone) => bone.name),
  extras: gltf.parser.json.asset.extras,
  generator: gltf.parser.json.asset.generator,
  animations: gltf.animations.map((clip) => ({ name: clip.name, duration: clip.duration, tracks: clip.tracks.length })),
  cameras: gltf.cameras.map((camera) => camera.name),
});

// Moves the head: weights by name (the others go to zero), rotations of joints as quaternions (the others go to none).
const pose = ({ weights = {}, rotations = {} }) => {
  for (const mesh of meshes) {
    mesh.morphTargetInfluences?.fill(0);
    for (const [name, value] of Object.entries(weights)) mesh.morphTargetInfluences[mesh.morphTargetDictionary[name]] = value;
  }
  for (const bone of meshes[0].skeleton.bones) bone.quaternion.set(...(rotations[bone.name] ?? [0, 0, 0, 1]));
};

// World positions of all vertices, mesh by mesh, morphed and skinned by three.js itself; float32 triples in base64.
const positions = () => {
  gltf.scene.updateMatrixWorld(true);
  meshes[0].skeleton.update();
  const point = new THREE.Vector3();
  return meshes.map((mesh) => {
    const count = mesh.geometry.attributes.position.count;
    const found = new Float32Array(3 * count);
    for (let index = 0; index < count; index += 1) mesh.localToWorld(mesh.getVertexPosition(index, point)).toArray(found, 3 * index);
    return base64(found);
  });
};

const seek = (seconds) => {
  const mixer = new THREE.AnimationMixer(gltf.scene);
  mixer.clipAction(gltf.animations[0]).play();
  mixer.setTime(seconds);
};

// The portrait, over black, under lights roughly where Headcast has them.
const draw = () => {
  const renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
  renderer.setSize(SIZE, SIZE);
  document.body.replaceChildren(renderer.domElement);
  const scene = new THREE.Scene();
  scene.add(gltf.scene, new THREE.HemisphereLight(0xcdd2dc, 0x8c8078, 1.6));
  for (const [x, y, z, colour, strength] of [[-0.5, 0.55, 0.67, 0xfff0dc, 1.9], [0.75, 0.05, 0.66, 0xb4c8e6, 0.5], [0.55, 0.45, -0.7, 0xb8c8e0, 1.0]]) {
    const light = new THREE.DirectionalLight(colour, strength);
    light.position.set(x, y, z);
    scene.add(light);
  }
  renderer.render(scene, gltf.cameras[0]);
};

window.viewer = { summary, pose, positions, seek, draw };
